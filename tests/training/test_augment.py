"""Augmentation: identities, ranges, one seed one result."""

import pytest
import torch

from mergelib.training.augment import LUMA, random_colour, random_sensor, random_view


def images(n=6, size=12):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(3))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


OFF = {"strength": 0.0, "grey": 0.0, "invert": 0.0, "permute": 0.0}


def test_a_full_crop_without_turn_or_mirror_is_the_image():
    x = images()
    same = random_view(x, seeded(), area=(1.0, 1.0), aspect=1.0, degrees=0.0, flip=False)
    assert torch.allclose(same, x, atol=1e-5)


def test_only_mirroring_gives_the_image_or_its_mirror():
    x = images(n=40)
    y = random_view(x, seeded(), area=(1.0, 1.0), aspect=1.0, degrees=0.0, flip=True)
    same = [torch.allclose(a, b, atol=1e-5) for a, b in zip(x, y, strict=True)]
    turned = [torch.allclose(a.flip(-1), b, atol=1e-5) for a, b in zip(x, y, strict=True)]
    assert all(a != b for a, b in zip(same, turned, strict=True))
    assert 5 < sum(turned) < 35


def test_colour_without_strength_is_the_identity():
    x = images()
    assert torch.allclose(random_colour(x, seeded(), **OFF), x, atol=1e-6)


def test_inversion_greying_and_permutation_each_do_what_they_say():
    x = images()
    assert torch.allclose(random_colour(x, seeded(), **{**OFF, "invert": 1.0}), 1 - x, atol=1e-6)
    grey = (x * torch.tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True).expand_as(x)
    assert torch.allclose(random_colour(x, seeded(), **{**OFF, "grey": 1.0}), grey, atol=1e-5)
    mixed = random_colour(x, seeded(), **{**OFF, "permute": 1.0})
    assert torch.allclose(mixed.sort(dim=1).values, x.sort(dim=1).values, atol=1e-6)


def test_grey_images_stay_grey():
    x = images()[:, :1].expand(-1, 3, -1, -1)
    y = random_colour(x, seeded(), strength=0.4, grey=0.2, invert=0.5, permute=0.5)
    assert torch.allclose(y[:, 0], y[:, 1], atol=1e-5)
    assert torch.allclose(y[:, 0], y[:, 2], atol=1e-5)


def test_blur_keeps_a_flat_image_and_lowers_the_contrast_of_a_noisy_one():
    flat = torch.full((2, 3, 8, 8), 0.3)
    assert torch.allclose(random_sensor(flat, seeded(), blur=1.0, noise=0.0), flat, atol=1e-6)
    x = images()
    assert random_sensor(x, seeded(), blur=1.0, noise=0.0).std() < 0.7 * x.std()


@pytest.mark.parametrize("operation", [random_view, random_colour, random_sensor])
def test_the_seed_decides_and_the_input_is_left_alone(operation):
    x = images()
    before = x.clone()
    a, b, c = (operation(x, seeded(s)) for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(x, before)
    assert a.min() >= 0 and a.max() <= 1
