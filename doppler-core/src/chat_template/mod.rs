//! A model's own chat template: messages in, prompt text out.
//!
//! Templates are Jinja programs that come with the model, so they are foreign code: they run with no files to load, with
//! a budget of instructions, and with an end to their output. One that fails is an error; making up another format would
//! give a model that answers badly without saying why.
//!
//! Time and output are bounded, memory in between is not: a template that doubles a string in a loop can ask for more
//! than there is. Take templates from where the weights come from.

mod python;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
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
        let messages: Vec<Json> = messages.iter().map(with_reasoning).collect();
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

/// A message whose reasoning, if it has any, goes by every name that templates read: callers use three.
fn with_reasoning(message: &Json) -> Json {
    let mut message = message.clone();
    let names = ["reasoning_content", "thinking", "reasoning"];
    let reasoning = names.iter().find_map(|name| message.get(name).filter(|value| !value.is_null()).cloned());
    if let (Some(fields), Some(reasoning)) = (message.as_object_mut(), reasoning) {
        fields.entry("thinking").or_insert_with(|| reasoning.clone());
        fields.insert("reasoning_content".to_owned(), reasoning);
    }
    message
}

/// Jinja as the Hugging Face library sets it up, without anything that reaches outside.
fn environment<'a>(now: SystemTime) -> Result<Environment<'a>, Error> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.map_err(|e| failure(e, false))?);
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_unknown_method_callback(python::method);
    environment.add_filter("tojson", python::tojson);
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
mod tests;
