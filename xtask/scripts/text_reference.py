"""Chat templates rendered by Hugging Face transformers, at a set time."""

import datetime

import jinja2
from transformers.utils import chat_template_utils


class SetTime(datetime.datetime):
    """What templates print as today."""

    seconds = 0

    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(cls.seconds, datetime.timezone.utc)


def render(source, bos, eos, request):
    """`{"text": …}` or `{"error": …}`, as `apply_chat_template` gives or raises it."""
    SetTime.seconds = request["now"]
    chat_template_utils.datetime = SetTime
    tokens = {name: token for name, token in [("bos_token", bos), ("eos_token", eos)] if token is not None}
    try:
        # What apply_chat_template calls with a model's template and special tokens.
        (text,), _ = chat_template_utils.render_jinja_template(
            [request["messages"]], tools=request.get("tools"), chat_template=source,
            add_generation_prompt=request["add_generation_prompt"], **tokens, **request.get("variables", {}),
        )
    except (jinja2.exceptions.TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"text": text}
