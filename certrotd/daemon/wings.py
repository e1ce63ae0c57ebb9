"""The wings: each kind of thing that is kept fresh is one module with a function ``build``."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from certrotd.config.model import Config
from certrotd.lifecycle.wing import Premises, Wing

MODULES = [
    *("certrotd.certs.wing", "certrotd.deliveries.wing"),
    *("certrotd.keys.wing", "certrotd.managed_keys.wing"),
]
"""In the order of listings; each is lifecycle.wing.Build by its name ``build``."""


def wings_of(config: Config, premises: Premises) -> Sequence[Wing]:
    """The wings of one configuration."""
    modules = [importlib.import_module(name) for name in MODULES]
    return [module.build(config, premises) for module in modules]
