"""Tensors in huge pages are tensors like others; where there are no such pages too."""

import mmap

import pytest
import torch

from understudy.models import huge_pages
from understudy.models.huge_pages import ALIGNED, PAGE, REGION, HugePages, settle
from understudy.models.language_model import LanguageModel
from understudy.models.spec import CoreConfig

SHAPES = [(3, 5), (7,), (), (0, 4), (2, 1, 3)]


@pytest.fixture(params=["huge", "refused", "unknown"])
def pages(request, monkeypatch):
    if request.param == "unknown":
        monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    if request.param == "refused":

        class Refusing(mmap.mmap):
            def madvise(self, *_):
                raise OSError("Invalid argument")

        monkeypatch.setattr(huge_pages.mmap, "mmap", Refusing)
    return HugePages()


def test_zeros_lie_apart_from_one_another(pages):
    made = [
        pages.zeros(shape, dtype)
        for shape in SHAPES
        for dtype in (torch.float32, torch.bfloat16, torch.int8, torch.int64)
    ]
    for number, tensor in enumerate(made, start=1):
        assert not tensor.any()
        tensor.fill_(number)
    for number, tensor in enumerate(made, start=1):
        assert tensor.is_contiguous()
        assert bool((tensor == number).all())


def test_copies_are_equal_and_survive_what_they_were_copied_from(pages):
    original = torch.randn(33, 65).T
    copied = pages.copy(original)
    expected = original.clone()
    original.zero_()
    del pages
    assert torch.equal(copied, expected)


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="this system has no huge pages")
def test_the_first_tensor_begins_a_page_and_each_a_cache_line():
    pages = HugePages()
    made = [pages.zeros((count,), torch.int8) for count in (1, 65, REGION, 3)]
    assert made[0].data_ptr() % PAGE == 0
    assert all(tensor.data_ptr() % ALIGNED == 0 for tensor in made)
    # More than what is left of a region gets one of its own.
    assert made[2].data_ptr() % PAGE == 0


@pytest.mark.parametrize("kind", ["lstm", "transformer"])
def test_a_settled_model_computes_the_same_and_learns(kind):
    torch.manual_seed(0)
    model = LanguageModel(CoreConfig(core=kind, layers=2, width=32, heads=2, context=16).resolved(), 64)
    ids_BT = torch.randint(64, (2, 9))
    expected, parameters = model(ids_BT)[0], list(model.parameters())
    settle(model)
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    torch.testing.assert_close(model(ids_BT)[0], expected, rtol=0, atol=0)
    model(ids_BT)[0].square().mean().backward()
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    assert not torch.equal(model(ids_BT)[0], expected)
