"""The pre-training run of the base."""

import matplotlib.pyplot as plt
import pandas as pd

from mergelib.figures.style import BLACK, BLUE, GREEN, ORANGE, VERMILION, WIDTH

SERIES = {
    "test_tiny_imagenet": ("Tiny ImageNet (200 classes)", BLUE, "s"),
    "test_cifar100": ("CIFAR-100", ORANGE, "^"),
    "test_caltech101": ("Caltech-101", GREEN, "P"),
    "probe_cifar10": ("CIFAR-10, linear probe", BLACK, "*"),
}


def pretraining_curve(log: pd.DataFrame):
    """Loss and held-out accuracies against samples seen; returns the figure."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.7))
    seen = log["samples"] / 1e6
    left.plot(seen, log["train_loss"], color=VERMILION, marker="o", markersize=3)
    left.set(xlabel="samples seen (millions)", ylabel="training loss (nats)")
    for column, (label, colour, marker) in SERIES.items():
        right.plot(seen, 100 * log[column], color=colour, marker=marker, markersize=3, label=label)
    right.set(xlabel="samples seen (millions)", ylabel="held-out accuracy (%)", ylim=(0, None))
    right.legend(loc="upper left", fontsize=7)
    return figure
