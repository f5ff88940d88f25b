"""Networks, pure: no files, no configuration, no losses. Needs the extra ``train``."""

from __future__ import annotations

from tamperscope.models.moment_net import MomentNet, moment_net
from tamperscope.models.trace_net import TraceNet, trace_net

__all__ = ["MomentNet", "TraceNet", "moment_net", "trace_net"]
