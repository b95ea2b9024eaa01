"""Configs of the data sets that come with builders, and of compared models.

A preset says only what differs from the defaults. Learning rates and the like
were chosen on validation days, for every model alike; see each docstring.
"""

import dataclasses

from ecdctr_tf import config as configs

# Columns of the Globo data that came on top of ids, popularity and age.
GLOBO_EXTRAS = (
    "extra_last_clicks",
    "extra_user_natural_clicks",
    "extra_user_ads_clicks",
    "extra_user_category_clicks",
    "extra_article_clicks_1d",
)


def synthetic() -> configs.Config:
    """Return the config of the synthetic two-domain world (`make demo`).

    Five TPM windows of 30 days, one CPM on the 30 days before the first ads,
    30 days of ads of which the report averages the last 15. Batch size and
    learning rates were chosen on the first 15, for A-CTR and ads-only alike.
    """
    return configs.Config(
        ctr=configs.TrainingConfig(
            batch_size=128, dense_learning_rate=1e-3, table_learning_rate=1e-3
        ),
        ads_only=configs.TrainingConfig(batch_size=32),
        schedule=configs.ScheduleConfig(
            tpm_days=30, cpm_days=30, report_first="2024-06-14"
        ),
    )


def globo() -> configs.Config:
    """Return the config of the Globo clicks on base features.

    Launch on day 9 (2017-10-10): three TPM windows of three days stand in for
    months, the CPM has days 6 to 8 and is rolled on every day, the A-CTR starts
    with the ads of days 4 to 8. Days 9 to 11 are for choices (batch sizes, for
    A-CTR and ads-only alike), days 12 and 13 are reported.
    """
    return configs.Config(
        model=configs.ModelConfig(exclude=GLOBO_EXTRAS),
        ctr=configs.TrainingConfig(batch_size=128),
        ads_only=configs.TrainingConfig(batch_size=64),
        schedule=configs.ScheduleConfig(
            tpm_days=3,
            cpm_days=3,
            cpm_every=1,
            ctr_first="2017-10-10",
            catch_up_days=5,
            report_first="2017-10-13",
        ),
    )


def movielens() -> configs.Config:
    """Return the config of the sample of MovieLens 1M.

    TPM windows are the months from April to October 2000, the CPM has
    2000-11-01 to 11-24, the A-CTR is scored from 2000-11-25 on, four weeks at a
    time, after a start with all earlier target rows. Most days have few rows:
    the report takes all of them together. Learning rates and batch sizes of
    A-CTR and ads-only were tried on 2000-11-13 to 11-24 with three seeds; the
    defaults at batch size 128 won for both.
    """
    return configs.Config(
        tpm=configs.TrainingConfig(batch_size=256),
        cpm=configs.TrainingConfig(batch_size=256),
        ctr=configs.TrainingConfig(batch_size=128),
        ads_only=configs.TrainingConfig(batch_size=128),
        schedule=configs.ScheduleConfig(
            tpm_days=0,
            tpm_last="2000-10-31",
            cpm_days=24,
            ctr_first="2000-11-25",
            ctr_days=28,
            catch_up_days=214,
            report_pooled=True,
        ),
    )


PRESETS = {"synthetic": synthetic, "globo": globo, "movielens": movielens}


def variant(config: configs.Config, model: str) -> configs.Config:
    """Return the config of one of the compared models.

    Args:
      config: the config of E-CDCTR.
      model: "e_cdctr"; "cpm_finetune", the same without TPM and history; every
        other name, such as "ads_only", has no CPM either.
    """
    if model == "e_cdctr":
        return config
    config = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, history=False),
        history=dataclasses.replace(config.history, start_tables=False),
    )
    if model == "cpm_finetune":
        return config
    return dataclasses.replace(
        config,
        ctr=config.ads_only,
        warm_start=dataclasses.replace(config.warm_start, from_cpm=False),
    )
