"""Several methods on several tasks with several seeds: trained, evaluated and reported by one command."""
