//! Whole conversations on a scripted socket, under a simulated loop and a simulated clock. No test here may touch a
//! real socket or wait for real time.

mod calls;
mod delayed;
mod ending;
mod framed;
mod layer;
mod pressure;
mod scene;
mod schedules;
mod script;
mod time;
