//! The simulator as its users meet it: the real binary, over real TCP.

#[path = "simulator/client.rs"]
mod client;
#[path = "simulator/counting.rs"]
mod counting;
#[path = "simulator/faults.rs"]
mod faults;
#[path = "simulator/protocols.rs"]
mod protocols;
#[path = "simulator/refusals.rs"]
mod refusals;
#[path = "simulator/shapes.rs"]
mod shapes;
#[path = "simulator/slots.rs"]
mod slots;
