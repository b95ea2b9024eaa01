"""Configs of the data sets that come with builders.

A preset contains only what differs from the defaults. Learning rates, batch
sizes and penalties were chosen on validation days, in the same way for every
model; see each docstring.
"""

import dataclasses

from ecdctr_tf import config as configs
from ecdctr_tf import model_table

# Batch sizes of joint models in the published tables.
_JOINT = tuple(
    f"{row.name}.batch_size=1024"
    for row in model_table.MODELS.values()
    if row.origin == model_table.BOTH_DOMAINS
)


def synthetic() -> configs.Config:
    """Return the config of the synthetic two-domain world (`make demo`).

    Five TPM windows of 30 days; a CPM on the 60 days before the first ads,
    which is refreshed every week; 30 days of ads, of which the report averages
    the last 15. Batch sizes, learning rates, penalties and the TPM's two passes
    were chosen on the first 15 days, for all models.
    """
    default = configs.Config()
    pretraining = configs.TrainingConfig(batch_size=1024, table_l2=1e-3)
    return configs.Config(
        model=dataclasses.replace(default.model, embedding_dim=32),
        tpm_model=dataclasses.replace(default.tpm_model, embedding_dim=32),
        tpm=dataclasses.replace(pretraining, passes=2),
        cpm=dataclasses.replace(pretraining, l2=1e-4),
        ctr=configs.TrainingConfig(
            batch_size=128, dense_learning_rate=1e-3, table_learning_rate=1e-3
        ),
        of_models=("ads_only.batch_size=32", *_JOINT),
        schedule=configs.ScheduleConfig(
            tpm_days=30, cpm_days=60, cpm_every=7, report_first="2024-06-14"
        ),
    )


def seasonal() -> configs.Config:
    """Return the config of the seasonal world (`prepare --world=seasonal`).

    Three seasons of 20 days each make a round, and there are ads for two
    rounds. A TPM window is a season. The three newest snapshots, a round, are
    looked up side by side; the oldest of them dates from the last time of the
    current season. The CPM starts with the round before the first ads, so that
    it has seen all seasons, and is refreshed every ten days; ads are scored
    five days at a time. Windows have few rows: batches of 512 give enough steps
    to follow a season. Nothing was tuned.
    """
    return configs.Config(
        ctr=synthetic().ctr,
        of_models=synthetic().of_models,
        tpm=configs.TrainingConfig(batch_size=512),
        cpm=configs.TrainingConfig(batch_size=512),
        history=configs.HistoryConfig(
            aggregation="concat", snapshots=3, dropout=0.0
        ),
        schedule=configs.ScheduleConfig(
            tpm_last="2024-08-07",
            tpm_days=20,
            cpm_days=60,
            cpm_every=10,
            ctr_first="2024-04-30",
            ctr_days=5,
        ),
        forgetting=configs.ForgettingConfig(group_days=20, returns_after=3),
    )


def globo() -> configs.Config:
    """Return the config of the Globo clicks.

    The launch is day 9 (2017-10-10). TPM windows of three days stand in for
    months; the CPM has days 6 to 8 and is refreshed every day; the A-CTR starts
    with the ads of days 0 to 8. Days 9 to 11 were used for choices (batch sizes
    of A-CTR and ads only); days 12 and 13 are reported. The weekday is left
    out: it is the same in all rows of a batch, so batch norm learns nothing
    from it and magnifies the initial values of an unseen weekday.
    """
    return configs.Config(
        model=configs.ModelConfig(exclude=("weekday",)),
        tpm=configs.TrainingConfig(batch_size=4096),
        cpm=configs.TrainingConfig(batch_size=4096),
        ctr=configs.TrainingConfig(batch_size=128),
        of_models=("ads_only.batch_size=64", *_JOINT),
        schedule=configs.ScheduleConfig(
            tpm_days=3,
            cpm_days=3,
            cpm_every=1,
            ctr_first="2017-10-10",
            catch_up_days=9,
            report_first="2017-10-13",
        ),
    )


def movielens() -> configs.Config:
    """Return the config of the sample of MovieLens 1M.

    TPM windows are the months from April to October 2000; the first CPM window
    is 2000-11-01 to 11-24; ads are scored from 2000-11-25 on, four weeks at a
    time, by an A-CTR that starts with all earlier target rows. Most days have
    few rows, so the report takes all of them together. Learning rates and batch
    sizes of A-CTR and ads only were tried on 2000-11-13 to 11-24 with three
    seeds; the defaults with batch size 128 were best for both.
    """
    return configs.Config(
        tpm=configs.TrainingConfig(batch_size=256),
        cpm=configs.TrainingConfig(batch_size=256),
        ctr=configs.TrainingConfig(batch_size=128),
        of_models=("ads_only.batch_size=128", *_JOINT),
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


def paper() -> configs.Config:
    """Return the settings of the paper, for any data.

    Dates are those of the data. The TPM publishes a snapshot for each month, of
    which the three newest are combined by self-attention that is learned in the
    CPM. The CPM has a month of natural logs and is refreshed weekly. The A-CTR
    takes all of its weights except batch norm, and warms up on the past seven
    days of ads.
    """
    schedule = configs.ScheduleConfig(
        tpm_days=0, cpm_days=30, cpm_every=7, catch_up_days=7
    )
    config = configs.Config(schedule=schedule)
    return configs.of_model(config, model_table.model("paper"))


PRESETS = {
    "paper": paper,
    "synthetic": synthetic,
    "seasonal": seasonal,
    "globo": globo,
    "movielens": movielens,
}
