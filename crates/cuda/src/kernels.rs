//! The kernels by name, with their parameters: the mirror of kernels/kernels.h, struct for struct.
//!
//! Both sides assert the size of every struct, and a launch checks it once more against the compiled kernel.

use crate::driver::Address;
use bytemuck::NoUninit;
use std::marker::PhantomData;

/// A kernel, the type of its parameters, and the threads of its blocks.
pub(crate) struct Kernel<P> {
    pub name: &'static str,
    pub threads: u32,
    params: PhantomData<P>,
}

impl<P> Kernel<P> {
    const fn new(name: &'static str, threads: u32) -> Kernel<P> {
        Kernel { name, threads, params: PhantomData }
    }
}

/// Declares parameter structs with their sizes; `NoUninit` refuses padding, which a struct must name.
macro_rules! params {
    ($($(#[$comment:meta])* $name:ident, $bytes:literal { $($field:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$comment])*
        #[derive(Clone, Copy, NoUninit)]
        #[repr(C)]
        pub(crate) struct $name { $(pub $field: $type),* }
        const _: () = assert!(size_of::<$name>() == $bytes);
    )*};
}

// ---- copy ---------------------------------------------------------------------------------------------------------
pub(crate) const ADD_F32: Kernel<AddParams> = Kernel::new("add_f32", 256);
pub(crate) const GATHER_ROWS_BF16: Kernel<RowsParams> = Kernel::new("gather_rows_bf16", 256);
pub(crate) const GATHER_ROWS_F32: Kernel<RowsParams> = Kernel::new("gather_rows_f32", 256);
pub(crate) const SCATTER_ADD_ROWS_F32: Kernel<RowsParams> = Kernel::new("scatter_add_rows_f32", 256);

params! {
    /// y[..elements] += x[..elements]
    AddParams, 24 { y: Address, x: Address, elements: u64 }
    /// Rows of `dim` elements between a packed matrix and the rows of another that `indices` names.
    RowsParams, 32 { to: Address, from: Address, indices: Address, rows: u32, dim: u32 }
}
