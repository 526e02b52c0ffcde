"""The paper's two baselines, as schemes with the verbs of ours: `deepsigns` (Base-1) and `adi` (Base-2)."""
