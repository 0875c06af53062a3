//! Templates that show one rule each.

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
fn json_is_laid_out_as_python_does() {
    let value = json!({"b": [1e-5, 0.0001, 1e16, 123456789.5, 2.0, -3e-7], "a": [], "c": {"d": {}}});
    let options = ChatOptions { tools: vec![value], ..ChatOptions::default() };
    let text = |filter: &str| template(&format!("{{{{ tools[0] | {filter} }}}}")).render(&[], &options).unwrap();
    assert_eq!(text("tojson"), r#"{"b": [1e-05, 0.0001, 1e+16, 123456789.5, 2.0, -3e-07], "a": [], "c": {"d": {}}}"#);
    assert_eq!(
        text("tojson(separators=(',', ':'), sort_keys=true)"),
        r#"{"a":[],"b":[1e-05,0.0001,1e+16,123456789.5,2.0,-3e-07],"c":{"d":{}}}"#
    );
    let options = ChatOptions { tools: vec![json!({"a": [1, [2]], "b": {}, "c": []})], ..ChatOptions::default() };
    assert_eq!(
        template("{{ tools[0] | tojson(indent=4) }}").render(&[], &options).unwrap(),
        "{\n    \"a\": [\n        1,\n        [\n            2\n        ]\n    ],\n    \"b\": {},\n    \"c\": []\n}"
    );
}

#[test]
fn methods_of_strings() {
    let cases = [
        ("'abcabc'.removeprefix('abc')", "abc"),
        ("'abc'.removeprefix('x')", "abc"),
        ("'abcabc'.removesuffix('abc')", "abc"),
        ("'a.b.c'.rsplit('.', 1) | tojson", r#"["a.b", "c"]"#),
        ("'a.b.c'.rsplit('.') | tojson", r#"["a", "b", "c"]"#),
        ("'a.b.c'.partition('.') | tojson", r#"["a", ".", "b.c"]"#),
        ("'a.b.c'.rpartition('.') | tojson", r#"["a.b", ".", "c"]"#),
        ("'abc'.rpartition('.') | tojson", r#"["", "", "abc"]"#),
        ("'</think>x</think>y'.split('</think>')[-1]", "y"),
    ];
    for (expression, expected) in cases {
        let text = template(&format!("{{{{ {expression} }}}}")).render(&[], &ChatOptions::default());
        assert_eq!(text.unwrap(), expected, "{expression}");
    }
    assert!(matches!(error("{{ 'abc'.rsplit('') }}"), Error::TemplateFailed { line: 1, .. }));
    assert!(matches!(error("{{ 'abc'.undo() }}"), Error::TemplateFailed { line: 1, .. }));
}

#[test]
fn reasoning_goes_by_every_name() {
    let source = "{{ messages[0].reasoning_content }}{{ messages[0].thinking }}";
    for name in ["reasoning", "thinking", "reasoning_content"] {
        let message = json!({"role": "assistant", name: "hm "});
        assert_eq!(template(source).render_json(&[message], &ChatOptions::default()).unwrap(), "hm hm ", "{name}");
    }
    assert_eq!(
        template(source).render_json(&[json!({"role": "user"}), json!("no message")], &ChatOptions::default()).unwrap(),
        ""
    );
}

#[test]
fn variables_and_richer_messages() {
    let mut options = ChatOptions::default();
    options.variables.insert("enable_thinking".into(), json!(false));
    let source = "{% if not enable_thinking %}fast {% endif %}{{ messages[0].tool_calls[0].name }}";
    let text = template(source).render_json(&[json!({"role": "assistant", "tool_calls": [{"name": "f"}]})], &options);
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
