//! The wording of each API: one module a route, all told the same script.

mod chat;
mod completions;
mod messages;
mod responses;

use sha2::{Digest, Sha256};

use super::json_text::JsonText;
use super::question::Route;
use super::script::{Script, write_token};

impl Script {
    /// The JSON form, whole. Embeddings have their own writer.
    pub fn write_whole(&self, out: &mut JsonText) {
        match self.route {
            Route::ChatCompletions => chat::whole(self, out),
            Route::Completions | Route::Embeddings => completions::whole(self, out),
            Route::Responses => responses::whole(self, out),
            Route::Messages => messages::whole(self, out),
        }
    }

    /// The events before the first token.
    pub fn write_opening(&self, out: &mut JsonText) {
        match self.route {
            Route::ChatCompletions => chat::opening(self, out),
            Route::Completions | Route::Embeddings => {}
            Route::Responses => responses::opening(self, out),
            Route::Messages => messages::opening(self, out),
        }
    }

    pub fn write_token_event(&self, index: u64, out: &mut JsonText) {
        match self.route {
            Route::ChatCompletions => chat::token(self, index, out),
            Route::Completions | Route::Embeddings => completions::token(self, index, out),
            Route::Responses => responses::token(self, index, out),
            Route::Messages => messages::token(self, index, out),
        }
    }

    /// The events after the last token, but for the terminator.
    pub fn write_closing(&self, out: &mut JsonText) {
        match self.route {
            Route::ChatCompletions => chat::closing(self, out),
            Route::Completions | Route::Embeddings => completions::closing(self, out),
            Route::Responses => responses::closing(self, out),
            Route::Messages => messages::closing(self, out),
        }
    }

    /// The event by which a client knows that the stream is whole.
    pub fn write_terminator(&self, out: &mut JsonText) {
        match self.route {
            Route::Responses => responses::terminator(self, out),
            Route::Messages => messages::terminator(out),
            _ => {
                out.raw("data: [DONE]\n\n");
            }
        }
    }

    fn write_token_text(&self, index: u64, out: &mut JsonText) {
        write_token(self.number, index, out);
    }

    /// The hash of the content of a stream, whose text is written nowhere else in one piece.
    fn content_sha256(&self) -> String {
        let (mut hash, mut text) = (Sha256::new(), JsonText::with_capacity(64));
        for index in 0..self.tokens {
            write_token(self.number, index, &mut text);
            hash.update(text.since(0));
            text.truncate(0);
        }
        hex::encode(hash.finalize())
    }
}
