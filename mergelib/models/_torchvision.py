"""Lets open_clip and timm be imported where torchvision's compiled operators cannot load.

Only CUDA-linked wheels of torchvision are published; beside a CPU build of torch their
extension is missing, and importing torchvision fails with ``operator torchvision::nms does
not exist``. Declaring the two operators by schema is enough: nothing here ever calls them.
"""

import importlib.machinery
import importlib.util

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def _extension_loads() -> bool:
    """True if torchvision's own C++ extension registers its operators in this process."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.submodule_search_locations is None:
        return False
    folder = spec.submodule_search_locations[0]
    extension = importlib.machinery.FileFinder(
        folder,
        (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES),
    ).find_spec("_C")
    if extension is None or extension.origin is None:
        return False
    try:
        torch.ops.load_library(extension.origin)
    except OSError:
        return False
    return True


def declare_missing_operators() -> torch.library.Library | None:
    """Declare ``torchvision::nms`` and ``qnms`` if the installed torchvision cannot.

    Returns the library that holds the declarations (it must stay alive), or None if
    torchvision works by itself.
    """
    if _extension_loads():
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        library.define(schema)
    return library


LIBRARY = declare_missing_operators()
