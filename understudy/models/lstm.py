"""The LSTM core (Hochreiter & Schmidhuber 1997): constant memory and constant cost per step.

Shape suffixes: B batch rows, T time steps, D width, L layers, G segments.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import override

from understudy.models.core import Core, segments_in
from understudy.models.norm import RMSNorm
from understudy.models.spec import CoreSpec


class LSTMState(NamedTuple):
    """Hidden and cell state of each row."""

    h_LBD: Tensor
    c_LBD: Tensor

    @property
    def max_len(self) -> None:
        """None: a row has room for any number of tokens."""

    def empty_rows(self, rows_B: Tensor) -> "LSTMState":
        """Return the state with these rows at a fresh start. Its tensors are changed in place."""
        self.h_LBD[:, rows_B] = 0
        self.c_LBD[:, rows_B] = 0
        return self

    def load_row(self, row: int, one: "LSTMState") -> "LSTMState":
        """Return the state with a row replaced by the only one of `one`. Its tensors are changed in place."""
        self.h_LBD[:, row] = one.h_LBD[:, 0]
        self.c_LBD[:, row] = one.c_LBD[:, 0]
        return self

    def repeated(self, times: int) -> "LSTMState":
        """Return a state with each row repeated `times` times."""
        return LSTMState(*(part.repeat_interleave(times, dim=1) for part in self))


class LSTM(Core):
    """Stacked LSTM whose rows can be reset at any step.

    >>> from understudy.models.spec import CoreConfig
    >>> core = LSTM(CoreConfig(core="lstm", layers=1, width=8).resolved())
    >>> y_BTD, state = core(torch.zeros(2, 5, 8), core.initial_state(batch_size=2))
    >>> y_BTD.shape, state.h_LBD.shape
    (torch.Size([2, 5, 8]), torch.Size([1, 2, 8]))
    """

    def __init__(self, spec: CoreSpec):
        super().__init__()
        self.context = spec.context
        between = spec.dropout if spec.layers > 1 else 0.0  # torch warns where there is nothing between
        self.rnn = nn.LSTM(spec.width, spec.width, spec.layers, batch_first=True, dropout=between)
        self.drop = nn.Dropout(spec.dropout)
        # What comes in, embeddings that begin small, and what goes out, squashed to (−1, 1): without a norm on both the
        # first thousands of steps go into their scale (docs/journal.md).
        self.norm = RMSNorm()
        # Glorot input weights, orthogonal recurrent ones (Saxe 2014), forget bias 1 (Jozefowicz 2015).
        fillings = {"weight_ih": nn.init.xavier_uniform_, "weight_hh": nn.init.orthogonal_}
        for name, parameter in self.rnn.named_parameters():
            gates = parameter.detach().view(4, spec.width, -1)  # input, forget, cell, output
            for gate in gates:
                fillings.get(name[:9], nn.init.zeros_)(gate)
            if name.startswith("bias_ih"):
                nn.init.ones_(gates[1])

    @override
    def initial_state(self, batch_size: int, max_len: int | None = None) -> LSTMState:
        # An LSTM's state does not grow, so `max_len` changes nothing.
        parameter = next(self.parameters())
        zeros_LBD = parameter.new_zeros(self.rnn.num_layers, batch_size, self.rnn.hidden_size)
        return LSTMState(zeros_LBD, zeros_LBD.clone())

    @override
    def forward(
        self, x_BTD: Tensor, state: LSTMState | None = None, reset_BT: Tensor | None = None
    ) -> tuple[Tensor, LSTMState | None]:
        keep = state is not None
        state = state or self.initial_state(x_BTD.shape[0])
        state = LSTMState(*(part.to(x_BTD.dtype) for part in state))
        x_BTD = self.drop(self.norm(x_BTD))
        if reset_BT is not None:
            keep_1B1 = (~reset_BT[:, 0])[None, :, None]
            state = LSTMState(state.h_LBD * keep_1B1, state.c_LBD * keep_1B1)
            if x_BTD.shape[1] > 1 and bool(reset_BT[:, 1:].any()):
                return self._forward_segments(x_BTD, state, reset_BT, keep)
        y_BTD, (h_LBD, c_LBD) = self.rnn(x_BTD, tuple(state))
        return self.drop(self.norm(y_BTD)), LSTMState(h_LBD, c_LBD) if keep else None

    def _forward_segments(
        self, x_BTD: Tensor, state: LSTMState, reset_BT: Tensor, keep: bool
    ) -> tuple[Tensor, LSTMState | None]:
        """Cut every row at its resets and run the segments side by side, each as a row of its own."""
        # 1) Where each segment begins and ends.
        batch, time = reset_BT.shape
        row_G, start_G, end_G = torch.tensor(segments_in(reset_BT), device=x_BTD.device).unbind(1)
        length_G = end_G - start_G
        first_G, last_G = start_G == 0, end_G == time

        # 2) One row per segment; the first of each row continues the given state.
        offset_T = torch.arange(int(length_G.max()), device=x_BTD.device)
        source_GT = (start_G[:, None] + offset_T).clamp(max=time - 1)
        inside_GT = offset_T < length_G[:, None]
        h_LGD, c_LGD = (part.new_zeros(part.shape[0], len(row_G), part.shape[2]) for part in state)
        h_LGD[:, first_G], c_LGD[:, first_G] = state.h_LBD, state.c_LBD

        # 3) Run them. Packed by length, torch also knows each last state, but runs five times slower on a CPU: where no
        # state is wanted the segments are only padded.
        x_GTD = x_BTD[row_G[:, None], source_GT]
        if keep:
            packed = nn.utils.rnn.pack_padded_sequence(x_GTD, length_G.cpu(), batch_first=True, enforce_sorted=False)
            y_packed, (h_LGD, c_LGD) = self.rnn(packed, (h_LGD, c_LGD))
            y_GTD, _ = nn.utils.rnn.pad_packed_sequence(y_packed, batch_first=True)
        else:
            y_GTD, _ = self.rnn(x_GTD, (h_LGD, c_LGD))
        # Row-major order of the segments is row-major order of the steps: a mask puts every step back in its place.
        y_BTD = y_GTD[inside_GT].view(batch, time, -1)
        return self.drop(self.norm(y_BTD)), LSTMState(h_LGD[:, last_G], c_LGD[:, last_G]) if keep else None
