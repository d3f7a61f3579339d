use bytes::Bytes;
use http::HeaderMap;
use minijinja::ErrorKind;
use proptest::prelude::*;
use serde_json::json;

use super::messages::LastAnswer;
use super::*;
use crate::ask::Sharing;
use crate::tokens::tests::body;
use crate::{Ask, Route, Tenant};

const CHATML: &str = "{%- for message in messages %}\n    {{- '<|' + message['role'] + '|>' + message['content'] + eos_token }}\n{% endfor %}\n{% if add_generation_prompt %}\n<|assistant|>\n{% endif %}\n";
/// Shows all that a template is given.
const SHOWS: &str = "{% for m in messages %}{{ m.role }}={{ m.content }}{% if m.tool_calls %}{{ m.tool_calls | tojson }}{% endif %};{% endfor %}{% if tools %}{{ tools | tojson }}{% endif %}";
const PARTS: &str = "{% for m in messages %}{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% else %}<image>{% endif %}{% endfor %}{% endfor %}";

fn ask(route: Route, body: &str) -> Ask {
    let (target, body) = (route.path().to_owned(), Bytes::from(body.to_owned()));
    Ask::read(route, Tenant::anonymous(), target, HeaderMap::new(), body, Sharing::Allowed).unwrap()
}

fn render_by(template: &Template, ask: &Ask) -> Result<String, Error> {
    let prompt = messages::prompt(ask, template.contents, LastAnswer::Given).unwrap();
    Ok(template.render(prompt.names, 1 << 20)?.text)
}

fn render(source: &str, route: Route, body: &serde_json::Value) -> Result<String, Error> {
    render_by(&Template::new(source, Some("<s>"), Some("</s>")).unwrap(), &ask(route, &body.to_string()))
}

fn chat(source: &str, messages: serde_json::Value) -> Result<String, Error> {
    render(source, Route::ChatCompletions, &json!({"messages": messages}))
}

#[test]
fn a_chat_is_written_as_jinja_writes_it() {
    let messages = json!([{"role": "system", "content": "s"}, {"role": "user", "content": " hi\n"}]);
    assert_eq!(chat(CHATML, messages).unwrap(), "<|system|>s</s>\n<|user|> hi\n</s>\n<|assistant|>\n");
}

#[test]
fn parts_are_joined_for_a_template_that_knows_none() {
    let messages = json!([{"role": "user", "content": [
        {"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "data:AAAA"}}, {"type": "text", "text": "b"},
    ]}, {"role": "assistant", "content": null}, {"role": "assistant"}]);
    assert_eq!(Template::new(CHATML, None, None).unwrap().contents, Contents::Texts);
    let rendered = chat(CHATML, messages.clone()).unwrap();
    assert_eq!(rendered, "<|user|>a\nb</s>\n<|assistant|></s>\n<|assistant|></s>\n<|assistant|>\n");
    assert_eq!(Template::new(PARTS, None, None).unwrap().contents, Contents::Parts);
    assert_eq!(chat(PARTS, messages).unwrap(), "a<image>b");
    assert_eq!(chat(PARTS, json!([{"role": "user", "content": "text"}])).unwrap(), "text");
    let either = format!(
        "{{% if messages[0].content is string %}}{{{{ messages[0].content }}}}{{% else %}}{PARTS}{{% endif %}}"
    );
    assert_eq!(Template::new(&either, None, None).unwrap().contents, Contents::TextsAndParts);
    assert_eq!(Template::new("{{ messages[0].content }}", None, None).unwrap().contents, Contents::Texts);
}

#[test]
fn json_is_written_as_python_writes_it_in_the_order_that_it_came_in() {
    let body = r#"{"messages":[{"role":"assistant","tool_calls":[{"id":"1","function":{"name":"w","arguments":"{\"z\":1,\"a\":[1.5,null]}"}}]}],"tools":[{"type":"function","b":"<é'>","a":{}}]}"#;
    let template = Template::new(SHOWS, None, None).unwrap();
    let rendered = render_by(&template, &ask(Route::ChatCompletions, body)).unwrap();
    let calls = r#"[{"id": "1", "function": {"name": "w", "arguments": {"z": 1, "a": [1.5, null]}}}]"#;
    assert_eq!(rendered, format!(r#"assistant={calls};[{{"type": "function", "b": "<é'>", "a": {{}}}}]"#));
    let indented = Template::new("{{ messages[0] | tojson(indent=2) }}", None, None).unwrap();
    let rendered = render_by(&indented, &ask(Route::ChatCompletions, r#"{"messages":[{"role":"user"}]}"#)).unwrap();
    assert_eq!(rendered, "{\n  \"role\": \"user\",\n  \"content\": \"\"\n}");
}

#[test]
fn messages_of_other_apis_become_chats() {
    let body = json!({"system": [{"type": "text", "text": "s"}], "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "tool_use", "id": "1", "name": "w", "input": {"x": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "5"}]},
    ], "tools": [{"name": "w", "input_schema": {"type": "object"}}]});
    let call = r#"[{"id": "1", "type": "function", "function": {"name": "w", "arguments": {"x": 1}}}]"#;
    let tools = r#"[{"type": "function", "function": {"name": "w", "parameters": {"type": "object"}}}]"#;
    let expected = format!("system=s;user=hi;assistant=a{call};tool=5;{tools}");
    assert_eq!(render(SHOWS, Route::Messages, &body).unwrap(), expected);
    let body = json!({"instructions": "s", "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "function_call", "call_id": "1", "name": "w", "arguments": "{\"x\":1}"},
        {"type": "function_call_output", "call_id": "1", "output": "5"},
        {"type": "reasoning", "summary": []},
    ], "tools": [{"type": "function", "name": "w", "parameters": {"type": "object"}}]});
    let rendered = render(SHOWS, Route::Responses, &body).unwrap();
    let call = r#"{"name": "w", "arguments": {"x": 1}}"#;
    assert!(rendered.starts_with("system=s;user=hi;assistant=[{") && rendered.contains(call), "{rendered}");
    assert!(rendered.ends_with(&format!("tool=5;{tools}")), "{rendered}");
    assert_eq!(render(SHOWS, Route::Responses, &json!({"input": "hi"})).unwrap(), "user=hi;");
}

#[test]
fn an_answer_that_the_client_began_is_written_on_where_the_engine_does() {
    let body = r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}"#;
    let ask = ask(Route::ChatCompletions, body);
    let names = |last| messages::prompt(&ask, Contents::Texts, last).unwrap();
    assert_eq!(names(LastAnswer::WrittenOn).continues.as_deref(), Some("b"));
    assert_eq!(names(LastAnswer::WrittenOn).names["messages"].len(), Some(1));
    assert_eq!(names(LastAnswer::Given).continues, None);
    assert_eq!(names(LastAnswer::Given).names["messages"].len(), Some(2));
}

#[test]
fn a_client_has_the_names_that_engines_let_it_set_and_no_others() {
    let source = "{{ thinking }},{{ add_generation_prompt }},{{ messages | length }},{{ bos_token }}";
    let body = json!({"messages": [{"role": "user", "content": "a"}], "add_generation_prompt": false,
        "chat_template_kwargs": {"thinking": "off", "messages": [], "bos_token": "x"}});
    assert_eq!(render(source, Route::ChatCompletions, &body).unwrap(), "off,False,1,<s>");
}

#[test]
fn python_s_methods_and_hugging_face_s_names_are_known() {
    let one = json!([{"role": "user", "content": "a </think> b"}]);
    let split = "{{ messages[0]['content'].split('</think>')[-1].strip() }}{% generation %}!{% endgeneration %}";
    assert_eq!(chat(split, one.clone()).unwrap(), "b!");
    let year = chat("{{ strftime_now('%Y') }}", one.clone()).unwrap();
    assert!(year.len() == 4 && year.parse::<u32>().is_ok(), "{year}");
    let error = chat("{{ raise_exception('roles must alternate') }}", one.clone()).unwrap_err();
    assert!(error.to_string().contains("roles must alternate"), "{error}");
    assert!(chat("{{ strftime_now('%!') }}", one).is_err());
}

#[test]
fn a_rendering_has_an_end() {
    let one = json!([{"role": "user", "content": "a"}]);
    let endless = "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}";
    assert_eq!(chat(endless, one.clone()).unwrap_err().kind(), ErrorKind::OutOfFuel);
    let deep = "{% macro again(n) %}{{ again(n + 1) }}{% endmacro %}{{ again(0) }}";
    assert!(chat(deep, one).is_err());
    let template = Template::new("{{ messages[0].content }}", None, None).unwrap();
    let body = json!({"messages": [{"role": "user", "content": "é".repeat(1000)}]}).to_string();
    let prompt = messages::prompt(&ask(Route::ChatCompletions, &body), Contents::Texts, LastAnswer::Given).unwrap();
    let rendered = template.render(prompt.names, 101).unwrap();
    assert_eq!((rendered.text.len(), rendered.left_out), (100, 1899), "cut between characters, and the rest is told");
}

proptest! {
    #[test]
    fn any_body_is_rendered_or_refused(body in body()) {
        for source in [CHATML, SHOWS, PARTS] {
            for route in [Route::ChatCompletions, Route::Messages, Route::Responses] {
                let _ = render(source, route, &body);
            }
        }
    }
}
