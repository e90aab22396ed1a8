from __future__ import annotations

import pytest
import torch

from siamtrack.errors import ConfigError
from siamtrack.models.families.sa_siam import ChannelAttention, grid_maxima


def test_the_grid_of_the_paper() -> None:
    """22 cells with 6 in the middle: borders at 8 and 14 (SA-Siam, section 3.2)."""
    x = torch.zeros(1, 1, 22, 22)
    places = {(0, 0): 1.0, (7, 8): 2.0, (7, 14): 3.0, (8, 7): 4.0, (13, 13): 5.0, (8, 14): 6.0, (14, 0): 7.0}
    for (row, column), value in places.items():
        x[0, 0, row, column] = value
    x[0, 0, 21, 13], x[0, 0, 21, 21] = 8.0, 9.0
    assert grid_maxima(x, 6)[0, 0].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_weights_stay_between_a_half_and_one_and_a_half() -> None:
    torch.manual_seed(0)
    attention = ChannelAttention()
    assert [p.shape for p in attention.parameters()] == [(9, 9), (9,), (1, 9), (1,)]
    weights = attention(1e4 * torch.randn(2, 50, 22, 22), 6).detach()
    assert weights.shape == (2, 50, 1, 1)
    assert float(weights.min()) >= 0.5 and float(weights.max()) <= 1.5
    assert float(weights.max() - weights.min()) > 0.5


def test_one_perceptron_serves_all_channels() -> None:
    torch.manual_seed(0)
    x, attention = torch.rand(1, 5, 12, 12), ChannelAttention()
    order = torch.tensor([3, 1, 4, 0, 2])
    assert torch.equal(attention(x[:, order], 4), attention(x, 4)[:, order])


def test_a_change_of_the_surroundings_changes_the_weights() -> None:
    torch.manual_seed(0)
    x, attention = torch.rand(1, 3, 22, 22), ChannelAttention()
    other = x.clone()
    other[:, 1, :8] += 3
    change = (attention(x, 6) - attention(other, 6)).abs().flatten()
    assert change[1] > 1e-3 and change[0] == 0 and change[2] == 0


def test_a_template_without_surroundings_is_refused() -> None:
    with pytest.raises(ConfigError, match="template_crop"):
        ChannelAttention()(torch.rand(1, 2, 7, 7), 6)
