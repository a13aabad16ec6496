"""What happened: the event store, and the evidence of drift that is drawn from it. Decides nothing."""
