//! From an int8 network to a program: fusion, addressing, liveness, arena, schedule.

pub mod arena;
