//! A generation as a stream of server-sent events: each token when it is due, each event in a frame
//! of its own. Without a gap between tokens, events share larger frames for speed.

use std::task::{Context, Poll, ready};

use bytes::Bytes;

use crate::sim::controls::Fault;
use crate::sim::ending::{Cut, Ending, Manner};
use crate::sim::json_text::JsonText;
use crate::sim::ledger::{Generation, Told};
use crate::sim::pace::Pace;
use crate::sim::question::Route;
use crate::sim::script::Script;

/// Where events share frames, a frame is handed on at this size.
const FULL_FRAME: usize = 16 * 1024;

pub struct TokenStream {
    generation: Generation,
    script: Script,
    pace: Pace,
    plan: Plan,
    ending: Ending,
    step: Step,
    sent: u64,
    /// Whether its closing events are written, which say the usage.
    closed: bool,
    out: JsonText,
}

/// What the fault makes of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub fault: Fault,
    /// After how many tokens it strikes.
    pub at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Opening,
    Tokens,
    Closing,
    Over,
}

impl TokenStream {
    pub fn new(script: Script, generation: Generation, pace: Pace, plan: Plan) -> TokenStream {
        let manner = match plan.fault {
            Fault::StallAfter => Manner::Hang,
            Fault::CutHead | Fault::Cut | Fault::CutMidEvent | Fault::CutBeforeDone => Manner::Cut,
            Fault::NoDone => Manner::Fail,
            _ => Manner::Finish,
        };
        let step = if plan.fault == Fault::CutHead { Step::Over } else { Step::Opening };
        // Most streams without a gap fit their buffer at once.
        let out = JsonText::with_capacity(if pace.is_gapless() { 4096 } else { 512 });
        TokenStream { generation, script, pace, plan, ending: Ending::new(manner), step, sent: 0, closed: false, out }
    }

    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        loop {
            if let Some(frame) = self.take_frame() {
                if self.is_written() {
                    if self.closed && self.says_usage() {
                        self.generation.tells(Told::Already);
                    }
                    self.ending.book(&mut self.generation);
                }
                return Poll::Ready(Some(Ok(frame)));
            }
            if self.step == Step::Over {
                self.ending.book(&mut self.generation);
                return self.ending.poll(context);
            }
            if self.poll_step(context).is_pending() {
                self.generation.post();
                return Poll::Pending;
            }
        }
    }

    fn says_usage(&self) -> bool {
        self.script.include_usage || matches!(self.script.route, Route::Messages | Route::Responses)
    }

    pub fn is_over(&self) -> bool {
        self.is_written() && self.ending.is_clean()
    }

    fn is_written(&self) -> bool {
        self.step == Step::Over && self.out.is_empty()
    }

    fn take_frame(&mut self) -> Option<Bytes> {
        if self.out.is_empty() {
            None
        } else if !self.pace.is_gapless() {
            Some(self.out.take_event())
        } else if self.step == Step::Over || self.out.len() >= FULL_FRAME {
            Some(self.out.take())
        } else {
            None
        }
    }

    /// Writes the events of one step, once they are due.
    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self.step {
            Step::Opening => {
                ready!(self.pace.poll_due(0, context));
                self.script.write_opening(&mut self.out);
                self.step = Step::Tokens;
            }
            Step::Tokens if self.strikes() => self.strike(),
            Step::Tokens if self.sent == self.script.tokens => self.step = Step::Closing,
            Step::Tokens => {
                ready!(self.pace.poll_due(self.sent, context));
                self.write_token();
            }
            Step::Closing => {
                self.script.write_closing(&mut self.out);
                if !matches!(self.plan.fault, Fault::CutBeforeDone | Fault::NoDone) {
                    self.script.write_terminator(&mut self.out);
                }
                self.closed = true;
                self.step = Step::Over;
            }
            Step::Over => {}
        }
        Poll::Ready(())
    }

    fn write_token(&mut self) {
        if self.plan.fault == Fault::BadJson && self.sent == self.plan.at.min(self.script.tokens - 1) {
            self.out.raw("data: {\"id\": this is not JSON\n\n");
        }
        self.script.write_token_event(self.sent, &mut self.out);
        self.sent += 1;
        self.generation.sent(self.sent);
        if self.plan.fault == Fault::BadSse {
            self.out.raw("?? this line is no field of an event stream\n\n");
        }
    }

    fn strikes(&self) -> bool {
        let at = self.plan.at.min(self.script.tokens);
        matches!(self.plan.fault, Fault::StallAfter | Fault::Cut | Fault::CutMidEvent) && self.sent == at
    }

    fn strike(&mut self) {
        if self.plan.fault == Fault::CutMidEvent {
            let start = self.out.len();
            self.script.write_token_event(self.sent, &mut self.out);
            self.out.truncate(start + (self.out.len() - start) / 2);
        }
        self.step = Step::Over;
    }
}
