"""A whole decode step on one of the threads that take it together, for Transformers and for the LSTM."""

from understudy.native.attention import attend
from understudy.native.layout import JOB, LAYER, MATRIX, PHASES, PLAN, STEP
from understudy.native.matmul import GELU, SQUARED_RELU, prepare, product
from understudy.native.pointwise import (
    F,
    accumulate,
    copy,
    layer_norm,
    lstm_cell,
    margin,
    native,
    put_lanes,
    rms_norm,
    short_convolution,
    take_lanes,
)
from understudy.native.vectors import LANES, add, get_integer, load_halves, look, put, splat, table, tell
from understudy.native.work_sharing import await_phase, await_step, begin_phase

plan_at, layer_at, matrix_at = table(PLAN), table(LAYER), table(MATRIX)


@native
def _add_token(p, token, stream):  # type: ignore[no-untyped-def]
    """Add a token's vector to the stream."""
    vector = p.embedding + token * p.embedding_stride
    for at in range(0, p.width, LANES):
        rest, to = p.width - at, stream + F * at
        if p.embedding_is_half:
            x = load_halves(vector + 2 * at, min(LANES, rest))
        else:
            x = take_lanes(vector + F * at, rest)
        put_lanes(to, add(take_lanes(to, rest), x), rest)


@native
def _embed(p):  # type: ignore[no-untyped-def]
    """Every row's token into the stream, with its type and its position where there are such."""
    for b in range(p.batch):
        stream = p.stream + b * p.narrow_stride
        for at in range(0, p.width, LANES):
            put_lanes(stream + F * at, splat(0.0), p.width - at)
        _add_token(p, get_integer(p.ids + 8 * b), stream)
        if p.types != 0 and get_integer(p.types + 8 * b) >= 0:
            _add_token(p, get_integer(p.types + 8 * b), stream)
        if p.positions != 0:
            accumulate(stream, p.positions + F * p.width * get_integer(p.lengths + 8 * b), p.width)


@native
def _normalise(p, gain, bias, target):  # type: ignore[no-untyped-def]
    """The norm of every row of the stream."""
    for b in range(p.batch):
        if p.rms_norm:
            rms_norm(p.stream + b * p.narrow_stride, target + b * p.narrow_stride, p.width)
        else:
            layer_norm(p.stream + b * p.narrow_stride, target + b * p.narrow_stride, gain, bias, p.width)


@native
def _join(p, gain, bias):  # type: ignore[no-untyped-def]
    """Add the branch to the stream and normalise; in a post-norm block `normed` is the stream itself."""
    for b in range(p.batch):
        accumulate(p.stream + b * p.narrow_stride, p.narrow + b * p.narrow_stride, p.width)
    _normalise(p, gain, bias, p.normed)


@native
def _prepare_normed(p):  # type: ignore[no-untyped-def]
    prepare(p, p.normed, p.narrow_stride, p.width, p.bytes, p.byte_scales)


@native
def _from_narrow(p, m, control, phase, x, y, y_stride, after, taps, recent):  # type: ignore[no-untyped-def]
    bytes_, scales = p.bytes, p.byte_scales
    return product(p, m, control, phase, x, p.narrow_stride, bytes_, scales, y, y_stride, after, taps, recent)


@native
def _mlp_input(p, layer):  # type: ignore[no-untyped-def]
    """From the attention's branch to what the MLP reads."""
    if p.pre_norm:
        _join(p, layer.norm_2_gain, layer.norm_2_bias)
    else:
        _join(p, layer.norm_1_gain, layer.norm_1_bias)
    if layer.mlp_taps != 0:
        for b in range(p.batch):
            recent = layer.mlp_recent + b * 3 * F * p.width
            short_convolution(p.normed + b * p.narrow_stride, layer.mlp_taps, recent, p.width, 0, p.width)
    _prepare_normed(p)


@native
def _layer(thread, p, layer, qkv, out, up, down, next_gain, next_bias, control, phase):  # type: ignore[no-untyped-def]
    if _from_narrow(p, qkv, control, phase, p.normed, p.wide, p.wide_stride, 0, layer.qkv_taps, layer.qkv_recent):
        begin_phase(control, phase + 1)
    await_phase(control, phase + 1)
    if attend(p, layer, thread, control, phase + 1):
        prepare(p, p.mixed, p.narrow_stride, p.width, p.bytes, p.byte_scales)
        begin_phase(control, phase + 2)
    await_phase(control, phase + 2)
    if _from_narrow(p, out, control, phase + 2, p.mixed, p.narrow, p.narrow_stride, 0, 0, 0):
        _mlp_input(p, layer)
        begin_phase(control, phase + 3)
    await_phase(control, phase + 3)
    after = SQUARED_RELU if p.squared_relu else GELU
    if _from_narrow(p, up, control, phase + 3, p.normed, p.wide, p.wide_stride, after, 0, 0):
        prepare(p, p.wide, p.wide_stride, 4 * p.width, p.bytes, p.byte_scales)
        begin_phase(control, phase + 4)
    await_phase(control, phase + 4)
    if product(
        p, down, control, phase + 4, p.wide, p.wide_stride, p.bytes, p.byte_scales, p.narrow, p.narrow_stride, 0, 0, 0
    ):
        if p.pre_norm:
            _join(p, next_gain, next_bias)
        else:
            _join(p, layer.norm_2_gain, layer.norm_2_bias)
        _prepare_normed(p)
        begin_phase(control, phase + 5)
    await_phase(control, phase + 5)


@native
def _transformer(thread, p, layers, matrices, control, phase):  # type: ignore[no-untyped-def]
    for index in range(p.layers):
        following = index + 1 < p.layers
        gain = layer_at(layers, index + 1).norm_1_gain if following else p.norm_gain
        bias = layer_at(layers, index + 1).norm_1_bias if following else p.norm_bias
        m = 4 * index
        qkv, out, up, down = (
            matrix_at(matrices, m),
            matrix_at(matrices, m + 1),
            matrix_at(matrices, m + 2),
            matrix_at(matrices, m + 3),
        )
        _layer(thread, p, layer_at(layers, index), qkv, out, up, down, gain, bias, control, phase + 5 * index)
    return phase + 5 * p.layers


@native
def _prepare_hidden(p, layer):  # type: ignore[no-untyped-def]
    for b in range(p.batch):
        copy(layer.hidden + b * F * p.width, p.mixed + b * p.narrow_stride, p.width)
    prepare(p, p.mixed, p.narrow_stride, p.width, p.more_bytes, p.more_byte_scales)


@native
def _cells(p, layer, is_last):  # type: ignore[no-untyped-def]
    """From the gates' sums to what the next layer, or the head, reads."""
    for b in range(p.batch):
        gates, hidden, cell = p.wide + b * p.wide_stride, layer.hidden + b * F * p.width, layer.cell + b * F * p.width
        normed = p.normed + b * p.narrow_stride
        lstm_cell(gates, gates + 4 * F * p.width, hidden, cell, p.width)
        if is_last:
            rms_norm(hidden, normed, p.width)
        else:
            copy(hidden, normed, p.width)
    _prepare_normed(p)


@native
def _lstm(p, layers, matrices, control, phase):  # type: ignore[no-untyped-def]
    for index in range(p.layers):
        layer, inputs, hidden = (
            layer_at(layers, index),
            matrix_at(matrices, 2 * index),
            matrix_at(matrices, 2 * index + 1),
        )
        if _from_narrow(p, inputs, control, phase, p.normed, p.wide, p.wide_stride, 0, 0, 0):
            begin_phase(control, phase + 1)
        await_phase(control, phase + 1)
        more = p.wide + 4 * F * p.width
        bytes_, scales = p.more_bytes, p.more_byte_scales
        if product(
            p, hidden, control, phase + 1, p.mixed, p.narrow_stride, bytes_, scales, more, p.wide_stride, 0, 0, 0
        ):
            _cells(p, layer, index + 1 == p.layers)
            if index + 1 < p.layers:
                _prepare_hidden(p, layer_at(layers, index + 1))
            begin_phase(control, phase + 2)
        await_phase(control, phase + 2)
        phase += 2
    return phase


@native
def _open(p, layers):  # type: ignore[no-untyped-def]
    """What one thread does before the first phase: from the tokens to what the first layer reads."""
    _embed(p)
    if p.taps != 0:
        for b in range(p.batch):
            recent = p.recent + b * 3 * F * p.width
            short_convolution(p.stream + b * p.narrow_stride, p.taps, recent, p.width, 0, p.width)
    if p.lstm:
        _normalise(p, 0, 0, p.normed)
        _prepare_hidden(p, layer_at(layers, 0))
    elif p.rms_norm:
        _normalise(p, 0, 0, p.stream)
    if p.pre_norm:
        _normalise(p, layer_at(layers, 0).norm_1_gain, layer_at(layers, 0).norm_1_bias, p.normed)
    _prepare_normed(p)


@native
def _share(thread, step, plan, layers, matrices, control):  # type: ignore[no-untyped-def]
    """One thread's part in a step that has begun."""
    p = plan_at(plan, 0)
    phase = step * PHASES
    if p.lstm:
        phase = _lstm(p, layers, matrices, control, phase)
    else:
        phase = _transformer(thread, p, layers, matrices, control, phase)
    head = matrix_at(matrices, (2 if p.lstm else 4) * p.layers)
    if _from_narrow(p, head, control, phase, p.normed, p.scores, F * p.vocabulary, 0, 0, 0):
        if p.margins != 0:
            for b in range(p.batch):
                put(p.margins + F * b, margin(p.scores + F * p.vocabulary * b, p.vocabulary))
        begin_phase(control, phase + 1)
    await_phase(control, phase + 1)


@native
def _lead(job, plan, layers, matrices, control):  # type: ignore[no-untyped-def]
    step = look(control + STEP) + 1
    _open(plan_at(plan, 0), layers)
    begin_phase(control, step * PHASES)
    tell(control + JOB, job)
    tell(control + STEP, step)
    return step


@native
def _follow(job, done, control):  # type: ignore[no-untyped-def]
    step = await_step(control, done)
    return step if look(control + JOB) == job else done


@native
def take_part(thread, done, job, plan, layers, matrices, control):  # type: ignore[no-untyped-def]
    """One token on in every row, from `ids` to `scores`, the caches and states grown by it.

    Thread 0 leads: it returns once the step is done. The others help with the job's steps as they come after the step
    `done`, and return the last one they know of once no more come, or one of another job.
    """
    while True:
        step = _lead(job, plan, layers, matrices, control) if thread == 0 else _follow(job, done, control)
        if step == done:
            return done
        _share(thread, step, plan, layers, matrices, control)
        done = step
        if thread == 0:
            return done
