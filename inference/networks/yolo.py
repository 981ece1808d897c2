"""Stage 2's network: YOLOv5 as the ultralytics package builds it (anchor-free head).

The only file that imports ultralytics. Importing that package reads the environment, asks whether
the network is reachable, and changes the environment, thread counts, print formats, log levels,
warning filters, `torch.save`, `PIL.Image.open` and OpenCV's file functions of the process; here it is told to stay offline first, and what it
changed is put back. State-dict names: ultralytics' own, `model.N.*`.
"""

import logging
import os
import tempfile
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import nn

__all__ = ["is_classic_head", "yolov5"]

OFFLINE = {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0", "YOLO_VERBOSE": "0"}


def yolov5(*, size: str, classes: int) -> nn.Module:
    """`size` is yolov5n or yolov5s. In eval mode the network gives a tuple, of which the first is
    (N, 4 + classes, A): centre x, centre y, width, height in pixels of the input, then one
    probability a class; for (N, 3, 640, 640) float32 RGB 0..1, A is 8,400."""
    network: nn.Module = _detection_model()(f"{size}.yaml", ch=3, nc=classes, verbose=False)
    return network


def is_classic_head(names: Collection[str]) -> bool:
    """Whether a state dict is of the YOLOv5 repository's anchor head, which is not built here."""
    return any(n.endswith(".anchors") or n.startswith("model.24.m.") for n in names)


@cache
def _detection_model() -> Any:
    with tempfile.TemporaryDirectory(prefix="leukonode-yolo-") as folder, _as_before():
        os.environ.update(OFFLINE, YOLO_CONFIG_DIR=folder)
        from ultralytics.nn.tasks import DetectionModel
        from ultralytics.utils import SETTINGS

        SETTINGS["sync"] = False
    return DetectionModel


@contextmanager
def _as_before() -> Iterator[None]:
    """Put back what an import changed of the process."""
    environment, levels = dict(os.environ), _log_levels()
    threads, cv2_threads = torch.get_num_threads(), cv2.getNumThreads()
    save, print_format = torch.save, np.get_printoptions()
    open_image = Image.open
    cv2_files = cv2.imread, cv2.imwrite, cv2.imshow
    try:
        with warnings.catch_warnings():
            yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        for name, level in _log_levels().items():
            if level != levels.get(name, logging.NOTSET) and not name.startswith("ultralytics"):
                logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv2_threads)
        torch.save = save
        Image.open = open_image
        cv2.imread, cv2.imwrite, cv2.imshow = cv2_files
        np.set_printoptions(**print_format)
        torch.set_printoptions(profile="default")  # type: ignore[no-untyped-call]  # torch's own


def _log_levels() -> dict[str, int]:
    known = list(logging.root.manager.loggerDict)
    return {name: logging.getLogger(name).level for name in known}
