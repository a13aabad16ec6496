"""What a drift report means: ``decide_drift(evidence, policy) -> DriftDecision``, and the record that replays it.

The question is causal: would the old version do better on the same traffic? Drift against the training sample answers
another one, so it freezes promotion and never reverts; a canary that is worse than concurrent stable reverts.
"""
