"""From the configuration and the frames to be written to the rules of their texts."""

import pyarrow as pa

from engine.config import Config
from engine.conversations import TextRules
from engine.existence import existence_odds

__all__ = ["text_rules"]


def text_rules(config: Config, frames: pa.Table) -> TextRules:
    """Settle what holds for all texts of a run.

    Args:
        config: of the run.
        frames: columns labels and hidden_labels of `FRAME_SCHEMA`, of the frames to be written.
    """
    return TextRules(
        seed=config.seed,
        boxes=config.boxes,
        templates=config.sentences,
        words=config.names.words,
        exhaustive=config.exhaustive,
        odds=existence_odds(frames, config.exhaustive),
    )
