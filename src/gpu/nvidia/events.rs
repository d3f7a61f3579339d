//! The errors that NVIDIA's driver reports by number (XID), as they happen: they are waited for on a thread of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, EventSet, Nvml};

use crate::gpu::card::Xid;

/// How long one wait takes at most: so late the end is noticed.
const WAIT_MS: u32 = 1_000;
/// What the driver says where it does not know which error it was.
const UNKNOWN: u64 = 999;

/// What was heard of each card since we began; of one that cannot be listened to, nothing.
#[derive(Debug, Default)]
pub struct Xids(Mutex<BTreeMap<u32, Xid>>);

impl Xids {
    pub fn of(&self, index: u32) -> Option<Xid> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&index).copied()
    }

    fn listened_to(&self, index: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(index).or_default();
    }

    fn heard(&self, index: u32, code: u64) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let xid = all.entry(index).or_default();
        *xid = Xid { count: xid.count + 1, last: Some(code) };
    }
}

/// Listens until it is dropped.
pub struct Listening(Arc<AtomicBool>);

impl Listening {
    pub fn begin(nvml: &Arc<Nvml>, xids: &Arc<Xids>, cards: u32) -> Self {
        let over = Arc::<AtomicBool>::default();
        let (nvml, xids, its_end) = (nvml.clone(), xids.clone(), over.clone());
        let listen = move || listen(&nvml, &xids, cards, &its_end);
        if let Err(problem) = std::thread::Builder::new().name("gpu-events".to_owned()).spawn(listen) {
            tracing::warn!(%problem, "errors of GPUs are not listened for");
        }
        Listening(over)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn listen(nvml: &Nvml, xids: &Xids, cards: u32, over: &AtomicBool) {
    let Some((set, cards)) = registered(nvml, cards) else { return };
    cards.iter().for_each(|(index, _)| xids.listened_to(*index));
    while !over.load(Ordering::Acquire) {
        match set.wait(WAIT_MS) {
            Ok(event) => {
                let place = place(&event.device);
                let card = cards.iter().find(|(_, known)| *known == place);
                let code = event.event_data.map(|error| match error {
                    XidError::Value(code) => code,
                    XidError::Unknown => UNKNOWN,
                });
                if let Some(((index, _), code)) = card.zip(code) {
                    xids.heard(*index, code);
                }
            }
            Err(NvmlError::Timeout) => {}
            // That a card is gone is found by whoever reads it.
            Err(_) => std::thread::park_timeout(std::time::Duration::from_millis(WAIT_MS.into())),
        }
    }
}

/// A set of the events of all cards that have such, with their numbers and places.
fn registered(nvml: &Nvml, cards: u32) -> Option<(EventSet<'_>, Vec<(u32, usize)>)> {
    let found = (0..cards).filter_map(|index| Some((index, nvml.device_by_index(index).ok()?)));
    let listens = |device: &Device<'_>| {
        device.supported_event_types().is_ok_and(|types| types.contains(EventTypes::CRITICAL_XID_ERROR))
    };
    let mut cards: Vec<_> = found.filter(|(_, device)| listens(device)).collect();
    // A set is gone with the first card that does not take it: then it is made anew, without that one.
    while !cards.is_empty() {
        let mut filled = Ok(nvml.create_event_set().ok()?);
        for (place, (_, device)) in cards.iter().enumerate() {
            let register = |set| device.register_events(EventTypes::CRITICAL_XID_ERROR, set).map_err(|_| place);
            filled = filled.and_then(register);
        }
        match filled {
            Ok(set) => return Some((set, cards.iter().map(|(index, device)| (*index, place(device))).collect())),
            Err(refused) => drop(cards.remove(refused)),
        }
    }
    None
}

/// What tells one card from another even when it answers nothing any more.
fn place(device: &Device<'_>) -> usize {
    // SAFETY: the handle is only compared.
    unsafe { device.handle() as usize }
}
