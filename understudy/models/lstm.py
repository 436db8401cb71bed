"""The LSTM core (Hochreiter & Schmidhuber 1997): constant memory and constant cost per step.

Shape suffixes: B batch rows, T time steps, D width, L layers, G segments.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from understudy.models.core import Core, segments_in
from understudy.models.lstm_layer import LSTMLayer, fits
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

    def rows(self, rows_B: Tensor) -> "LSTMState":
        """Return a copy of these rows."""
        return LSTMState(*(part[:, rows_B] for part in self))

    def with_rows(self, rows_B: Tensor, part: "LSTMState") -> "LSTMState":
        """Return the state with these rows replaced by those of `part`. Its tensors are changed in place."""
        self.h_LBD[:, rows_B], self.c_LBD[:, rows_B] = part.h_LBD, part.c_LBD
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
        x_BTD = self.drop(self.norm(x_BTD))
        if reset_BT is not None and not bool(reset_BT.any()):
            reset_BT = None
        run = self._forward_layers if fits(x_BTD) else self._forward_torch
        y_BTD, after = run(x_BTD, state, reset_BT)
        return self.drop(self.norm(y_BTD)), after if keep else None

    def _forward_layers(self, x_BTD: Tensor, state: LSTMState, reset_BT: Tensor | None) -> tuple[Tensor, LSTMState]:
        x_TBD, dtype, after = x_BTD.transpose(0, 1).contiguous(), x_BTD.dtype, []
        keep_TB = None if reset_BT is None else (~reset_BT).t().contiguous()
        for layer, (h_BD, c_BD) in enumerate(zip(*state, strict=True)):
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            weights = (getattr(self.rnn, f"{name}_l{layer}").to(dtype) for name in names)
            in_GD, rec_GD, bias_G, bias_2_G = weights
            if layer and self.training:
                x_TBD = F.dropout(x_TBD, self.rnn.dropout)
            x_TBD, *one = LSTMLayer.apply(
                x_TBD, in_GD, rec_GD, bias_G + bias_2_G, h_BD.to(dtype), c_BD.float(), keep_TB
            )
            after.append(one)
        h_LBD, c_LBD = (torch.stack(part) for part in zip(*after, strict=True))
        return x_TBD.transpose(0, 1), LSTMState(h_LBD, c_LBD)

    def _forward_torch(self, x_BTD: Tensor, state: LSTMState, reset_BT: Tensor | None) -> tuple[Tensor, LSTMState]:
        state = LSTMState(*(part.to(x_BTD.dtype) for part in state))
        if reset_BT is None:
            y_BTD, after = self.rnn(x_BTD, tuple(state))
            return y_BTD, LSTMState(*after)
        keep_1B1 = (~reset_BT[:, 0])[None, :, None]
        state = LSTMState(state.h_LBD * keep_1B1, state.c_LBD * keep_1B1)

        # Cut every row at its resets and run the segments side by side, each as a row of its own.
        batch, time = reset_BT.shape
        row_G, start_G, end_G = torch.tensor(segments_in(reset_BT), device=x_BTD.device).unbind(1)
        length_G = end_G - start_G
        first_G, last_G = start_G == 0, end_G == time
        offset_T = torch.arange(int(length_G.max()), device=x_BTD.device)
        source_GT = (start_G[:, None] + offset_T).clamp(max=time - 1)
        inside_GT = offset_T < length_G[:, None]

        # The first of each row continues the given state. Packed by length, torch also knows each last state.
        h_LGD, c_LGD = (part.new_zeros(part.shape[0], len(row_G), part.shape[2]) for part in state)
        h_LGD[:, first_G], c_LGD[:, first_G] = state.h_LBD, state.c_LBD
        x_GTD = x_BTD[row_G[:, None], source_GT]
        packed = nn.utils.rnn.pack_padded_sequence(x_GTD, length_G.cpu(), batch_first=True, enforce_sorted=False)
        y_packed, (h_LGD, c_LGD) = self.rnn(packed, (h_LGD, c_LGD))
        y_GTD, _ = nn.utils.rnn.pad_packed_sequence(y_packed, batch_first=True)

        # Row-major order of the segments is row-major order of the steps: a mask puts every step back in its place.
        return y_GTD[inside_GT].view(batch, time, -1), LSTMState(h_LGD[:, last_G], c_LGD[:, last_G])
