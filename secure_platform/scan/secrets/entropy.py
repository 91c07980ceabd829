"""Shannon entropy in bits per byte, which is high for random secrets and low for words."""

import math
from collections import Counter


def shannon(data: bytes) -> float:
    """Entropy of the byte frequencies; 0 for nothing."""
    size = len(data)
    shares = (count / size for count in Counter(data).values())
    return max(0.0, -sum(share * math.log2(share) for share in shares))
