"""A whole decode step on one of the threads that take it together, for Transformers and for the LSTM."""
# mypy: allow-untyped-defs

from understudy.native import pointwise as pw
from understudy.native import vectors as vec
from understudy.native.attention import attend
from understudy.native.layout import JOB, LAYER, MATRIX, PHASES, PLAN, STEP
from understudy.native.matmul import product, quantize, sequence
from understudy.native.work_sharing import await_phase, await_step, begin_phase, begin_step

plan_at, layer_at, matrix_at = vec.table(PLAN), vec.table(LAYER), vec.table(MATRIX)


@pw.native
def _add_token(p, token, stream):
    """Add a token's embedding to a row of the stream."""
    vector = p.embedding + token * p.embedding_stride
    for at in range(0, p.width, vec.LANES):
        rest, to = p.width - at, stream + pw.F * at
        if p.embedding_is_half:
            x = vec.load_halves(vector + 2 * at, min(vec.LANES, rest))
        else:
            x = pw.take_lanes(vector + pw.F * at, rest)
        pw.put_lanes(to, vec.add(pw.take_lanes(to, rest), x), rest)


@pw.native
def _normalize(p, gain, bias, y):
    """Write the norm of the stream to the operand y."""
    for b in range(p.batch):
        x, to = p.stream.address + b * p.stream.stride, y.address + b * y.stride
        if p.rms_norm:
            pw.rms_norm(x, to, p.width)
        else:
            pw.layer_norm(x, to, gain, bias, p.width)


@pw.native
def _add_branch(p, gain, bias):
    """Add the branch to the stream and normalize. In a post-norm block `normed` is the stream itself."""
    for b in range(p.batch):
        pw.accumulate(p.stream.address + b * p.stream.stride, p.branch.address + b * p.branch.stride, p.width)
    _normalize(p, gain, bias, p.normed)


@pw.native
def _copy_hidden(p, layer):
    """Copy an LSTM layer's hidden state to the operand `hidden`."""
    for b in range(p.batch):
        pw.copy(layer.hidden + sequence(p, b) * pw.F * p.width, p.hidden.address + b * p.hidden.stride, p.width)
    quantize(p, p.hidden, p.width)


@pw.native
def _embed(p, layers):
    """Do one thread's work before the first phase: from the tokens to what the first layer reads."""
    for b in range(p.batch):
        stream = p.stream.address + b * p.stream.stride
        # Embedding, type and position, where the model has them
        for at in range(0, p.width, vec.LANES):
            pw.put_lanes(stream + pw.F * at, vec.splat(0.0), p.width - at)
        _add_token(p, vec.get_integer(p.ids + 8 * b), stream)
        if p.types != 0 and vec.get_integer(p.types + 8 * b) >= 0:
            _add_token(p, vec.get_integer(p.types + 8 * b), stream)
        if p.positions != 0:
            pw.accumulate(stream, p.positions + pw.F * p.width * vec.get_integer(p.lengths + 8 * b), p.width)
        if p.taps != 0:
            pw.short_convolution(stream, p.taps, p.recent + sequence(p, b) * 3 * pw.F * p.width, p.width, 0, p.width)
    if p.lstm:
        _normalize(p, 0, 0, p.normed)
        _copy_hidden(p, layer_at(layers, 0))
    elif p.rms_norm:
        _normalize(p, 0, 0, p.stream)
    if p.pre_norm:
        _normalize(p, p.start_gain, p.start_bias, p.normed)
    quantize(p, p.normed, p.width)


@pw.native
def _gather(p):
    """Move the rows of the last layer for which logits are wanted to the front."""
    if p.wanted != 0:
        for index in range(p.asked):
            row = vec.get_integer(p.wanted + 8 * index)
            if row != index:
                y = p.normed.address
                pw.copy(y + row * p.normed.stride, y + index * p.normed.stride, p.width)


@pw.native
def _transformer(thread, p, layers, matrices, control, phase):
    """Take this thread's part in the layers of a Transformer. Returns the phase after them."""
    for index in range(p.layers):
        layer = layer_at(layers, index)
        qkv, out = matrix_at(matrices, 4 * index), matrix_at(matrices, 4 * index + 1)
        up, down = matrix_at(matrices, 4 * index + 2), matrix_at(matrices, 4 * index + 3)

        # Queries, keys and values
        if product(p, qkv, p.batch, thread, control, phase, p.normed, p.wide, layer.qkv_recent):
            begin_phase(control, phase + 1)
        await_phase(control, phase + 1)

        # Attention
        if attend(p, layer, thread, control, phase + 1):
            quantize(p, p.mixed, p.width)
            begin_phase(control, phase + 2)
        await_phase(control, phase + 2)

        # Its output joins the stream; from there to what the MLP reads
        if product(p, out, p.batch, thread, control, phase + 2, p.mixed, p.branch, 0):
            _add_branch(p, layer.middle_gain, layer.middle_bias)
            if layer.mlp_taps != 0:
                for b in range(p.batch):
                    x = p.normed.address + b * p.normed.stride
                    recent = layer.mlp_recent + sequence(p, b) * 3 * pw.F * p.width
                    pw.short_convolution(x, layer.mlp_taps, recent, p.width, 0, p.width)
            quantize(p, p.normed, p.width)
            begin_phase(control, phase + 3)
        await_phase(control, phase + 3)

        # The MLP
        if product(p, up, p.batch, thread, control, phase + 3, p.normed, p.wide, 0):
            quantize(p, p.wide, 4 * p.width)
            begin_phase(control, phase + 4)
        await_phase(control, phase + 4)
        if product(p, down, p.batch, thread, control, phase + 4, p.wide, p.branch, 0):
            _add_branch(p, layer.end_gain, layer.end_bias)
            if index + 1 == p.layers:
                _gather(p)
            quantize(p, p.normed, p.width)
            begin_phase(control, phase + 5)
        await_phase(control, phase + 5)
        phase += 5
    return phase


@pw.native
def _lstm(thread, p, layers, matrices, control, phase):
    """Take this thread's part in the layers of an LSTM. Returns the phase after them."""
    for index in range(p.layers):
        layer, is_last = layer_at(layers, index), index + 1 == p.layers

        # The gates' sums: of the inputs, then of the hidden state
        if product(p, matrix_at(matrices, 2 * index), p.batch, thread, control, phase, p.normed, p.wide, 0):
            begin_phase(control, phase + 1)
        await_phase(control, phase + 1)
        if product(
            p, matrix_at(matrices, 2 * index + 1), p.batch, thread, control, phase + 1, p.hidden, p.recurrent, 0
        ):
            # The cells, and what the next layer or the head reads
            for b in range(p.batch):
                gates, more = p.wide.address + b * p.wide.stride, p.recurrent.address + b * p.recurrent.stride
                at = sequence(p, b) * pw.F * p.width
                hidden, cell = layer.hidden + at, layer.cell + at
                pw.lstm_cell(gates, more, hidden, cell, p.width)
                if is_last:
                    pw.rms_norm(hidden, p.normed.address + b * p.normed.stride, p.width)
                else:
                    pw.copy(hidden, p.normed.address + b * p.normed.stride, p.width)
            if is_last:
                _gather(p)
            quantize(p, p.normed, p.width)
            if not is_last:
                _copy_hidden(p, layer_at(layers, index + 1))
            begin_phase(control, phase + 2)
        await_phase(control, phase + 2)
        phase += 2
    return phase


@pw.native
def take_part(thread, done, job, plan, layers, matrices, control):
    """Feed the tokens of a step, from `ids` to `logits`; caches and states grow by them.

    Thread 0 leads and returns once the step is done. The others help with the job's steps that follow the step `done`.
    They return the number of the last one they know of, once no more come or the next one is of another job.
    """
    p = plan_at(plan, 0)
    while True:
        if thread == 0:
            step = vec.load_acquire(control + STEP) + 1
            _embed(p, layers)
            begin_step(control, step, job, step * PHASES)
        else:
            step = await_step(control, done)
            if step == done or vec.load_acquire(control + JOB) != job:
                return done

        if p.lstm:
            phase = _lstm(thread, p, layers, matrices, control, step * PHASES)
        else:
            phase = _transformer(thread, p, layers, matrices, control, step * PHASES)
        head = matrix_at(matrices, (2 if p.lstm else 4) * p.layers)
        if product(p, head, p.asked, thread, control, phase, p.normed, p.logits, 0):
            if p.margins != 0:
                for b in range(p.asked):
                    vec.put(
                        p.margins + pw.F * b, pw.margin(p.logits.address + b * p.logits.stride, p.vocabulary, p.spare)
                    )
            begin_phase(control, phase + 1)
        await_phase(control, phase + 1)

        if thread == 0:
            return step
        done = step
