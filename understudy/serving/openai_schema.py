"""What OpenAI's API exchanges, as far as this server takes part in it.

Fields that stand for nothing here are declared all the same, with the values that ask for nothing: clients send these.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

MOST_CHOICES = 128
Count = Annotated[int, Field(ge=1, le=10**9)]
Token = Annotated[int, Field(ge=0, le=2**31)]
FinishReason = Literal["stop", "length"]


def _encodable(text: str) -> str:
    """Return the text. Raises ValueError for half a surrogate pair, which JSON can hold and no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("half a surrogate pair is no character") from error
    return text


Words = Annotated[str, AfterValidator(_encodable)]
StopText = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_encodable)]


class Unsupported:
    """Marks a field as not supported: it may be null, or one of the given values, which ask for nothing."""

    def __init__(self, *harmless: Any) -> None:
        self._harmless = [None, *harmless]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema of a field that takes these values only."""
        return core_schema.no_info_plain_validator_function(self._checked)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return how the description of the API says so."""
        return {"enum": self._harmless, "description": "Not supported."}

    def _checked(self, value: Any) -> None:
        # By type too: False is not 0 in JSON.
        if not any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in self._harmless):
            raise PydanticCustomError("unsupported", "is not supported")


class Body(BaseModel):
    """What a request holds; a field that is not known is refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class TextPart(Body):
    """A part of a message."""

    type: Literal["text"]
    text: Words


class ChatMessage(Body):
    """A message of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Words | Annotated[list[TextPart], Field(min_length=1)]
    name: Annotated[Any, Unsupported()] = None
    refusal: Annotated[Any, Unsupported()] = None
    annotations: Annotated[Any, Unsupported([])] = None
    audio: Annotated[Any, Unsupported()] = None
    tool_calls: Annotated[Any, Unsupported([])] = None
    function_call: Annotated[Any, Unsupported()] = None

    @property
    def text(self) -> str:
        """What it says."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class StreamOptions(Body):
    """What a stream tells beside the reply."""

    include_usage: bool | None = None
    include_obfuscation: Annotated[Any, Unsupported(False)] = None


class SamplingBody(Body):
    """What requests for a chat's reply and for a text's continuation have in common."""

    model: Annotated[str, Field(max_length=500)]
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Count | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=16)] | None = None
    # Larger integers do not survive every reader of JSON.
    seed: Annotated[int, Field(ge=-(2**53), le=2**53)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Annotated[str, Field(max_length=500)] | None = None
    frequency_penalty: Annotated[Any, Unsupported(0)] = None
    presence_penalty: Annotated[Any, Unsupported(0)] = None
    logit_bias: Annotated[Any, Unsupported({})] = None

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts at which a reply ends."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class ChatRequest(SamplingBody):
    """A conversation whose next message is asked for."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=10_000)]
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Annotated[Any, Unsupported([])] = None
    tool_choice: Annotated[Any, Unsupported("none", "auto")] = None
    parallel_tool_calls: Annotated[Any, Unsupported(True, False)] = None
    functions: Annotated[Any, Unsupported([])] = None
    function_call: Annotated[Any, Unsupported("none", "auto")] = None
    response_format: Annotated[Any, Unsupported({"type": "text"})] = None
    modalities: Annotated[Any, Unsupported(["text"])] = None
    audio: Annotated[Any, Unsupported()] = None
    prediction: Annotated[Any, Unsupported()] = None
    reasoning_effort: Annotated[Any, Unsupported("none")] = None
    verbosity: Annotated[Any, Unsupported()] = None
    web_search_options: Annotated[Any, Unsupported()] = None
    service_tier: Annotated[Any, Unsupported("auto", "default")] = None
    store: Annotated[Any, Unsupported(False)] = None
    metadata: Annotated[Any, Unsupported({})] = None


class CompletionRequest(SamplingBody):
    """Texts, as such or as token ids, whose continuations are asked for."""

    prompt: (
        Words
        | Annotated[list[Words], Field(min_length=1, max_length=MOST_CHOICES)]
        | Annotated[list[Token], Field(min_length=1)]
        | Annotated[list[Annotated[list[Token], Field(min_length=1)]], Field(min_length=1, max_length=MOST_CHOICES)]
    )
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    best_of: Annotated[Any, Unsupported(1)] = None
    echo: Annotated[Any, Unsupported(False)] = None
    suffix: Annotated[Any, Unsupported("")] = None

    @property
    def prompts(self) -> list[str | list[int]]:
        """The prompts, of which there may be only one."""
        given: Any = self.prompt
        return [given] if isinstance(given, str) or isinstance(given[0], int) else given


class TokenLogprob(BaseModel):
    """A token and its log-probability; `bytes` are the text it stands for."""

    token: str
    logprob: float
    bytes: list[int]


class SampledLogprob(TokenLogprob):
    """A token of a reply, and the likeliest in its place."""

    top_logprobs: list[TokenLogprob]


class ChatLogprobs(BaseModel):
    """The log-probabilities of a chat's reply."""

    content: list[SampledLogprob]
    refusal: None = None


class CompletionLogprobs(BaseModel):
    """The log-probabilities of a text's continuation, in lists over its tokens."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class PromptTokens(BaseModel):
    """How many tokens of the prompt did not have to be computed."""

    cached_tokens: int


class Usage(BaseModel):
    """Tokens of the prompt and of all choices."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokens


class Reply(BaseModel):
    """A message from the model."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class ChatChoice(BaseModel):
    """One of the replies asked for."""

    index: int
    message: Reply
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason


class Extra(BaseModel):
    """What OpenAI's API has no field for."""

    dropped_messages: int
    """How many of the oldest messages the prompt leaves out, since they no longer fit the context."""


class Completed(BaseModel):
    """What all whole answers have in common."""

    id: str
    created: int
    model: str
    usage: Usage


class ChatCompletion(Completed):
    """A chat's next message."""

    object: Literal["chat.completion"] = "chat.completion"
    choices: list[ChatChoice]
    understudy: Extra


class TextChoice(BaseModel):
    """One of the continuations asked for."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: FinishReason


class TextCompletion(Completed):
    """Continuations of texts."""

    object: Literal["text_completion"] = "text_completion"
    choices: list[TextChoice]


class Model(BaseModel):
    """A model that is served."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "understudy"


class ModelList(BaseModel):
    """The models that are served."""

    object: Literal["list"] = "list"
    data: list[Model]
