"""What `tagstream model` does, without a command line: typed arguments in, records out, failures as exceptions."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from model_export import bundle
from model_export.bundle import Bundle
from model_export.prediction import LoadClassifier

logger = logging.getLogger(__name__)
