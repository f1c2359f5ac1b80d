"""Text classification, as far as it is known without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from limen.errors import SpecError
from limen.lab.data.named import check_table
from limen.lab.declaration import Declaration
from limen.lab.metric import ACCURACY, F1
from limen.lab.networks.catalogue import Catalogue

if TYPE_CHECKING:
    from limen.lab.settings import StudySettings

HERE = "limen.lab.tasks.text"


class Text(Declaration):
    """Cross-entropy; accuracy decides, macro F1 beside it."""

    name = "text"
    about = "classes of texts: a CSV file with a heading (--text COLUMN, --target COLUMN)"
    measure = ACCURACY
    metrics = (ACCURACY, F1)
    networks = Catalogue({"bag": f"{HERE}.networks:Bag", "textcnn": f"{HERE}.networks:TextCNN"})
    defaults: ClassVar[Mapping[str, Any]] = {
        "network": "bag",
        "batch_size": 32,
        "eval_batch_size": 256,
        "window": 128,
    }
    options = frozenset({"test_data", "text", "target", "window", "label_smoothing"})

    def check(self, settings: StudySettings) -> None:
        """A target is needed."""
        if not settings.target:
            raise SpecError(f"--task text needs --target, the column of {settings.data} with each text's class.")

    def look(self, settings: StudySettings) -> None:
        """A CSV file."""
        check_table(settings.data)
