//! A model's own chat template: messages in, prompt text out.
//!
//! Templates are Jinja programs that come with the model, so they are foreign code: they run with no files to load, with
//! a budget of instructions, and with an end to their output. One that fails is an error; making up another format would
//! give a model that answers badly without saying why.
//!
//! Time and output are bounded, memory in between is not: a template that doubles a string in a loop can ask for more
//! than there is. Take templates from where the weights come from.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{Environment, ErrorKind, Value};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::Error;
use crate::strftime::strftime;

/// Ten times the longest known template.
const MAX_SOURCE_BYTES: usize = 256 << 10;

/// More text than any model's context.
const MAX_OUTPUT_BYTES: usize = 16 << 20;

/// Instructions; a long conversation takes some hundred thousand.
const FUEL: u64 = 10_000_000;

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, or what else the template knows.
    pub role: String,
    /// What was said.
    pub content: String,
}

impl Message {
    /// A turn of `role`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Message { role: role.into(), content: content.into() }
    }

    /// A turn of the user.
    pub fn user(content: impl Into<String>) -> Self {
        Message::new("user", content)
    }
}

/// What a template is told besides the messages.
#[derive(Debug, Clone)]
pub struct ChatOptions {
    /// End the prompt where the assistant's answer begins.
    pub add_generation_prompt: bool,
    /// Tools that the model may call, as JSON schemas.
    pub tools: Vec<Json>,
    /// Further variables that the template knows, such as `enable_thinking`.
    pub variables: Map<String, Json>,
    /// The time that a template which prints the date takes, in UTC.
    pub now: SystemTime,
}

impl Default for ChatOptions {
    /// For generating an answer, now, without tools.
    fn default() -> Self {
        ChatOptions { add_generation_prompt: true, tools: Vec::new(), variables: Map::new(), now: SystemTime::now() }
    }
}

/// A chat template with the special tokens that it prints.
///
/// ```
/// use doppler_core::chat_template::{ChatOptions, ChatTemplate, Message};
/// let source = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}";
/// let template = ChatTemplate::new(source, None, None)?;
/// let prompt = template.render(&[Message::new("user", "Hello")], &ChatOptions::default())?;
/// assert_eq!(prompt, "<user>Hello");
/// # Ok::<(), doppler_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    source: String,
    bos_token: Option<String>,
    eos_token: Option<String>,
}

impl ChatTemplate {
    /// Checks that `source` is a template. The tokens are the texts of the model's special tokens.
    /// # Errors
    /// [`Error::TemplateAbsent`] when there is none, [`Error::TemplateTooLarge`], [`Error::TemplateFailed`].
    pub fn new(source: &str, bos_token: Option<&str>, eos_token: Option<&str>) -> Result<Self, Error> {
        if source.trim().is_empty() {
            return Err(Error::TemplateAbsent);
        }
        if source.len() > MAX_SOURCE_BYTES {
            return Err(Error::TemplateTooLarge { bytes: source.len(), limit: MAX_SOURCE_BYTES });
        }
        let source = without_generation_tags(source);
        environment(UNIX_EPOCH)?.template_from_str(&source).map_err(|e| failure(e, false))?;
        let [bos_token, eos_token] = [bos_token, eos_token].map(|token| token.map(str::to_owned));
        Ok(ChatTemplate { source, bos_token, eos_token })
    }

    /// The prompt of a conversation. It already holds the special tokens: encode it without adding any.
    /// # Errors
    /// [`Error::TemplateRefused`] when the template raises an exception, [`Error::TemplateRanTooLong`] and
    /// [`Error::TemplateOutput`] when it does not end, [`Error::TemplateFailed`] for all else.
    pub fn render(&self, messages: &[Message], options: &ChatOptions) -> Result<String, Error> {
        self.render_value(Value::from(Serde(messages)), options)
    }

    /// As [`ChatTemplate::render`], with messages that have more fields: tool calls, parts of content, reasoning.
    /// # Errors
    /// As [`ChatTemplate::render`].
    pub fn render_json(&self, messages: &[Json], options: &ChatOptions) -> Result<String, Error> {
        self.render_value(Value::from(Serde(messages)), options)
    }

    fn render_value(&self, messages: Value, options: &ChatOptions) -> Result<String, Error> {
        let mut variables: Vec<(&str, Value)> =
            options.variables.iter().map(|(name, value)| (name.as_str(), Value::from(Serde(value)))).collect();
        variables.push(("messages", messages));
        variables.push(("add_generation_prompt", Value::from(options.add_generation_prompt)));
        // `none` and not an empty list: templates ask `if tools is not none`.
        let tools = if options.tools.is_empty() { Value::from(()) } else { Value::from(Serde(&options.tools)) };
        variables.push(("tools", tools));
        variables.push(("documents", Value::from(())));
        for (name, token) in [("bos_token", &self.bos_token), ("eos_token", &self.eos_token)] {
            // Left undefined, a token that the model does not have prints nothing and is false.
            variables.extend(token.as_deref().map(|token| (name, Value::from(token))));
        }
        let variables = Value::from_pairs(variables);
        // The engine has indexing that panics on odd slices (`[][::-1]`); a template must not take the program down.
        let rendered = catch_unwind(AssertUnwindSafe(|| self.run(variables, options.now)));
        rendered.unwrap_or_else(|_| {
            let source = minijinja::Error::new(ErrorKind::InvalidOperation, "the template engine panicked");
            Err(Error::TemplateFailed { line: 0, source })
        })
    }

    fn run(&self, variables: Value, now: SystemTime) -> Result<String, Error> {
        let environment = environment(now)?;
        let template = environment.template_from_str(&self.source).map_err(|e| failure(e, false))?;
        let mut output = Limited { bytes: Vec::new(), full: false };
        match template.render_captured_to(variables, &mut output) {
            Ok(_) => Ok(String::from_utf8_lossy(&output.bytes).into_owned()),
            Err(error) => Err(failure(error, output.full)),
        }
    }
}

/// Jinja as the Hugging Face library sets it up, without anything that reaches outside.
fn environment<'a>(now: SystemTime) -> Result<Environment<'a>, Error> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.map_err(|e| failure(e, false))?);
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_filter("tojson", tojson);
    // The engine iterates over `none` as over nothing, in Python it cannot be iterated: `tools is iterable and tools|length`.
    environment.add_test("iterable", |value: &Value| !value.is_none() && value.try_iter().is_ok());
    environment.add_function("raise_exception", |message: String| -> Result<Value, minijinja::Error> {
        let kind = ErrorKind::InvalidOperation;
        Err(minijinja::Error::new(kind, "the template raised an exception").with_source(Refusal(message)))
    });
    environment.add_function("strftime_now", move |format: String| {
        let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        strftime(&format, seconds).map_err(|letter| {
            let message = format!("strftime_now does not know `%{letter}`");
            minijinja::Error::new(ErrorKind::InvalidOperation, message)
        })
    });
    Ok(environment)
}

/// The message of `raise_exception`, to be told from other failures.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(String);

fn failure(error: minijinja::Error, output_full: bool) -> Error {
    if output_full {
        return Error::TemplateOutput { limit: MAX_OUTPUT_BYTES };
    }
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(cause) = source {
        if let Some(Refusal(message)) = cause.downcast_ref() {
            return Error::TemplateRefused { message: message.clone() };
        }
        if cause.downcast_ref::<minijinja::Error>().is_some_and(|e| e.kind() == ErrorKind::OutOfFuel) {
            return Error::TemplateRanTooLong { instructions: FUEL };
        }
        source = cause.source();
    }
    Error::TemplateFailed { line: error.line().unwrap_or(0), source: error }
}

/// Output up to a limit.
struct Limited {
    bytes: Vec<u8>,
    full: bool,
}

impl io::Write for Limited {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + part.len() > MAX_OUTPUT_BYTES {
            self.full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// JSON as Python's `json.dumps` writes it, which is what the models saw in training: a space after `,` and `:`, nothing
/// escaped for HTML. The engine's own filter differs in both.
fn tojson(value: &Value, options: Kwargs) -> Result<String, minijinja::Error> {
    let indent: Option<usize> = options.get("indent")?;
    let ensure_ascii: Option<bool> = options.get("ensure_ascii")?;
    let sort_keys: Option<bool> = options.get("sort_keys")?;
    options.assert_all_used()?;
    let wrong =
        |e: serde_json::Error| minijinja::Error::new(ErrorKind::BadSerialization, "no JSON value").with_source(e);
    let mut json = serde_json::to_value(value).map_err(wrong)?;
    if sort_keys == Some(true) {
        json.sort_all_objects();
    }
    let mut bytes = Vec::new();
    match indent {
        Some(width) => {
            let indent = vec![b' '; width.min(16)];
            let formatter = serde_json::ser::PrettyFormatter::with_indent(&indent);
            json.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter)).map_err(wrong)?;
        }
        None => json.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Spaced)).map_err(wrong)?,
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(if ensure_ascii == Some(true) { escape_to_ascii(&text) } else { text })
}

/// Characters beyond ASCII, which JSON has in strings only, as `\u` escapes of their UTF-16 units.
fn escape_to_ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            out.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    out
}

/// `{"a": 1, "b": [2, 3]}`
struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// `{% generation %}` marks the answer for training and is no part of Jinja: it becomes a block that does nothing, with
/// its whitespace control kept.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, after)) = rest.split_once("{%") {
        out.push_str(before);
        out.push_str("{%");
        rest = after;
        if let Some((tag, _)) = after.split_once("%}") {
            let name = tag.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']);
            let replacement = match name.trim() {
                "generation" => "if true",
                "endgeneration" => "endif",
                _ => continue,
            };
            out.push_str(&tag.replacen(name, &format!(" {replacement} "), 1));
            rest = &after[tag.len()..];
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template(source: &str) -> ChatTemplate {
        ChatTemplate::new(source, Some("<s>"), Some("</s>")).unwrap()
    }

    fn talk(turns: &[(&str, &str)]) -> Vec<Message> {
        turns.iter().map(|(role, content)| Message::new(*role, *content)).collect()
    }

    fn error(source: &str) -> Error {
        template(source).render(&talk(&[("user", "Hi")]), &ChatOptions::default()).unwrap_err()
    }

    /// Role tags with a default system prompt: the kind of template that SmolLM2 has.
    const CHATML: &str = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}\
        {{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}\
        {{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}\
        {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    #[test]
    fn role_tags() {
        let options = ChatOptions::default();
        assert_eq!(
            template(CHATML).render(&talk(&[("user", "Hi <b> & you")]), &options).unwrap(),
            "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi <b> & you<|im_end|>\n<|im_start|>assistant\n"
        );
        let options = ChatOptions { add_generation_prompt: false, ..options };
        assert_eq!(
            template(CHATML).render(&talk(&[("system", "S"), ("user", "U"), ("assistant", "A")]), &options).unwrap(),
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"
        );
    }

    #[test]
    fn blocks_leave_no_lines_and_python_methods_work() {
        let source = "{{ bos_token }}\n    {%- set ns = namespace(n=0) %}\n{% for m in messages %}\n    {% if \
            m.content.startswith('H') and not loop.last %}\n{% set ns.n = ns.n + 1 %}\n{{ m['content'].strip() | upper }}{{ \
            eos_token }}\n    {% continue %}\n    {% endif %}\n[{{ m.get('role', '?').split('s')[0] }}]\n{% endfor %}{{ ns.n }}";
        let text = template(source).render(&talk(&[("user", "Hi  "), ("assistant", "Ho")]), &ChatOptions::default());
        assert_eq!(text.unwrap(), "<s>HI</s>\n[a]\n1");
    }

    #[test]
    fn absent_tokens_and_tools_are_false() {
        let source = "{% if bos_token is defined %}B{% endif %}{% if tools %}T{% endif %}{% if tools is not none %}N{% endif %}{% if tools is iterable %}I{% endif %}{{ eos_token }}.";
        let template = ChatTemplate::new(source, None, None).unwrap();
        assert_eq!(template.render(&[], &ChatOptions::default()).unwrap(), ".");
    }

    #[test]
    fn tools_are_json_as_python_writes_it() {
        let tool = json!({"type": "function", "name": "zürich <1>", "args": [1, 2.5, true, null], "none": {}});
        let options = ChatOptions { tools: vec![tool], ..ChatOptions::default() };
        let text = template("{{ tools[0] | tojson }}").render(&[], &options).unwrap();
        assert_eq!(text, r#"{"type": "function", "name": "zürich <1>", "args": [1, 2.5, true, null], "none": {}}"#);
        let text = template("{{ tools[0].args | tojson(indent=2) }}").render(&[], &options).unwrap();
        assert_eq!(text, "[\n  1,\n  2.5,\n  true,\n  null\n]");
        let text = template("{{ ('ü𝄞' ~ tools[0].name) | tojson(ensure_ascii=true) }}").render(&[], &options).unwrap();
        assert_eq!(text, r#""\u00fc\ud834\udd1ez\u00fcrich <1>""#);
    }

    #[test]
    fn variables_and_richer_messages() {
        let mut options = ChatOptions::default();
        options.variables.insert("enable_thinking".into(), json!(false));
        let source = "{% if not enable_thinking %}fast {% endif %}{{ messages[0].tool_calls[0].name }}";
        let text =
            template(source).render_json(&[json!({"role": "assistant", "tool_calls": [{"name": "f"}]})], &options);
        assert_eq!(text.unwrap(), "fast f");
    }

    #[test]
    fn the_date() {
        let now = UNIX_EPOCH + std::time::Duration::from_secs(1_722_384_000);
        let options = ChatOptions { now, ..ChatOptions::default() };
        assert_eq!(template("{{ strftime_now('%d %b %Y') }}").render(&[], &options).unwrap(), "31 Jul 2024");
    }

    #[test]
    fn training_marks_do_nothing() {
        let source = "{%- generation -%}\n a {{ '%}' }}{% endgeneration %}\nb{% generation%}c{%endgeneration%}";
        assert_eq!(template(source).render(&[], &ChatOptions::default()).unwrap(), "a %}bc");
    }

    #[test]
    fn an_exception_is_the_templates_own_message() {
        let source = "{% macro check(m) %}{% if m.role != 'system' %}{{ raise_exception('no ' + m.role) }}{% endif %}{% endmacro %}\
            {% for m in messages %}{{ check(m) }}{% endfor %}";
        assert!(matches!(error(source), Error::TemplateRefused { message } if message == "no user"));
    }

    #[test]
    fn endless_templates_end() {
        let endless = "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}";
        assert!(matches!(error(endless), Error::TemplateRanTooLong { .. }));
        let recursive = "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}";
        assert!(matches!(error(recursive), Error::TemplateFailed { .. } | Error::TemplateRanTooLong { .. }));
        let verbose = "{% set x = 'abcdefgh' * 1000000 %}{% for i in range(1000) %}{{ x }}{% endfor %}";
        assert!(matches!(error(verbose), Error::TemplateOutput { .. }));
        assert!(matches!(error("{{ 'x' * 10000000000 }}"), Error::TemplateFailed { .. }));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        assert!(matches!(error("a\nb\n{{ messages.x.y.z }}"), Error::TemplateFailed { line: 3, .. }));
        assert!(matches!(error("{% include 'x' %}"), Error::TemplateFailed { .. }));
        assert!(matches!(error("{% for x in [][::-1] %}{% endfor %}"), Error::TemplateFailed { line: 0, .. }));
        assert!(matches!(ChatTemplate::new("{% if %}", None, None), Err(Error::TemplateFailed { line: 1, .. })));
        assert!(matches!(ChatTemplate::new(" \n", None, None), Err(Error::TemplateAbsent)));
        let large = "x".repeat(MAX_SOURCE_BYTES + 1);
        assert!(matches!(ChatTemplate::new(&large, None, None), Err(Error::TemplateTooLarge { .. })));
        let deep = "{{ ".to_owned() + &"(".repeat(100_000) + "1" + &")".repeat(100_000) + " }}";
        assert!(matches!(ChatTemplate::new(&deep, None, None), Err(Error::TemplateFailed { .. })));
    }
}
