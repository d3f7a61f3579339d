//! `/v1/models`: the models named on the command line.

use percent_encoding::percent_decode_str;

use super::body::ReplyBody;
use super::json_text::JsonText;
use super::problem::Problem;
use super::simulator::Simulator;

pub fn list(simulator: &Simulator) -> ReplyBody {
    let mut out = JsonText::default();
    out.raw(r#"{"object":"list","data":["#);
    for (index, model) in simulator.models.iter().enumerate() {
        out.raw(if index > 0 { "," } else { "" });
        write_model(simulator, model, &mut out);
    }
    out.raw("]}");
    ReplyBody::plain(out.take())
}

/// The model of this id, which may hold slashes, as they are or percent-encoded.
pub fn one(simulator: &Simulator, id: &str) -> Result<ReplyBody, Problem> {
    let id = percent_decode_str(id).decode_utf8_lossy();
    match simulator.models.iter().find(|model| **model == id) {
        Some(model) => {
            let mut out = JsonText::default();
            write_model(simulator, model, &mut out);
            Ok(ReplyBody::plain(out.take()))
        }
        None => Err(Problem::unknown_model(&id)),
    }
}

fn write_model(simulator: &Simulator, model: &str, out: &mut JsonText) {
    out.raw(r#"{"id":"#).string(model).raw(r#","object":"model","created":"#);
    out.number(simulator.clock.unix_start_seconds()).raw(r#","owned_by":"outrigger-sim"}"#);
}
