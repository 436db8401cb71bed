"""The only place where everything meets: a Config and main(config, run) each."""
