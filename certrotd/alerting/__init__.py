"""From what the daemon does to alerts: rules, what each notifier knows already, delivery."""
