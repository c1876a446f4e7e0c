"""Lightning, as all of triptych imports it: without what it would read of torchmetrics and has no use for here."""

from triptych.base.late import late_scores

late_scores()

import lightning as L  # noqa: E402 it reads torchmetrics

__all__ = ["L"]
