"""The configuration: one YAML file and its conf.d, checked once, with every error placed."""
