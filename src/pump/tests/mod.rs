//! Whole connections on a scripted socket, in a simulated loop with a simulated clock. No test here may use a real
//! socket or wait for real time.

mod calls;
mod delayed;
mod ending;
mod exhaustive;
mod framed;
mod harness;
mod layer;
mod pressure;
mod schedules;
mod services;
mod time;
