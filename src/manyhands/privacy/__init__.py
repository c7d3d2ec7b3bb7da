"""What a server, or whoever sees the model, cannot learn of a single client."""

from manyhands.privacy.base import PRIVACIES, NoPrivacy, Privacy
from manyhands.privacy.differential import DifferentialPrivacy
from manyhands.privacy.masks import SecureAggregation

__all__ = ["PRIVACIES", "DifferentialPrivacy", "NoPrivacy", "Privacy", "SecureAggregation"]
