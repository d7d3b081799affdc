//! Short lists on their way between host and device: what a step of generation sends and receives.

/// A list of the host, by its elements' type.
#[derive(Clone, Copy, Debug)]
pub enum Words<'a> {
    U32(&'a [u32]),
    F32(&'a [f32]),
}

/// As [`Words`], to be filled.
#[derive(Debug)]
pub enum WordsMut<'a> {
    U32(&'a mut [u32]),
    F32(&'a mut [f32]),
}
