"""Configs of the data sets that come with builders; only what differs."""

import dataclasses

from ecdctr_tf import config as configs


def synthetic() -> configs.Config:
    """Return the config of the synthetic two-domain world (`make demo`)."""
    return configs.Config()


PRESETS = {"synthetic": synthetic}


def variant(config: configs.Config, model: str) -> configs.Config:
    """Return the config of one of the compared models.

    Args:
      config: the config of E-CDCTR.
      model: "e_cdctr"; "cpm_finetune", the same without TPM and history; or
        "ads_only", which has no CPM either.
    """
    if model == "e_cdctr":
        return config
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, history=False),
        history=dataclasses.replace(config.history, start_tables=False),
    )
