//! The driver trait on the simulator: memory, copies, events, and failures that come back as errors.
#![allow(clippy::unwrap_used)]

mod device;

use device::{driver, library};
use gradus_cuda::{CudaDriver, Driver, DriverError, Launch, SimDriver, SimUnavailable, Unavailable};

#[test]
fn bytes_come_back_as_they_were_written() {
    let driver = driver(1);
    let stream = driver.stream();
    let bytes: Vec<u8> = (0..1000).map(|i| (i % 251) as u8).collect();
    let (first, second) = (driver.alloc(1000).unwrap(), driver.alloc(1000).unwrap());
    let mut found = vec![0; 1000];
    // SAFETY: every range is one of the two allocations; they are freed once, at the end.
    unsafe {
        driver.write(stream, first, &bytes).unwrap();
        driver.copy(stream, second, first, 1000).unwrap();
        driver.fill(stream, first, 7, 400).unwrap();
        driver.read(stream, second, &mut found).unwrap();
        assert_eq!(found, bytes);
        driver.read(stream, first, &mut found).unwrap();
        driver.synchronize(stream).unwrap();
        assert_eq!(found[..400], [7; 400]);
        assert_eq!(found[400..], bytes[400..]);
        driver.free(first).unwrap();
        driver.free(second).unwrap();
    }
}

#[test]
fn what_nobody_wrote_is_not_zero() {
    let driver = driver(1);
    let fresh = driver.alloc(64).unwrap();
    let mut found = [0; 64];
    // SAFETY: one live allocation.
    unsafe {
        driver.read(driver.stream(), fresh, &mut found).unwrap();
        driver.free(fresh).unwrap();
    }
    assert_eq!(found, [0xff; 64]);
}

#[test]
fn ranges_outside_of_every_allocation_are_errors() {
    let driver = driver(1);
    let stream = driver.stream();
    let memory = driver.alloc(64).unwrap();
    // SAFETY: against the contract on purpose: the simulator checks every range before it touches it.
    unsafe {
        assert!(driver.write(stream, memory, &[0; 65]).is_err());
        assert!(driver.read(stream, memory, &mut [0; 65]).is_err());
        assert!(driver.fill(stream, memory, 0, 65).is_err());
        driver.free(memory).unwrap();
        assert!(driver.free(memory).is_err());
        assert!(driver.write(stream, memory, &[0; 1]).is_err());
    }
}

#[test]
fn a_launch_that_cannot_be_is_an_error_in_words() {
    let driver = driver(1);
    let launch = |kernel, threads, shared_bytes, params: &[u8]| {
        let launch = Launch { kernel, grid: [1, 1, 1], block: [threads, 1, 1], shared_bytes, params };
        // SAFETY: the simulator refuses it before it runs.
        match unsafe { driver.launch(driver.stream(), &launch) } {
            Err(DriverError::Failed(text)) => text,
            other => panic!("{kernel} with {threads} threads: {other:?}"),
        }
    };
    assert!(launch("no_such_kernel", 1, 0, &[]).contains("no_such_kernel"));
    assert!(launch("copy_rows_bf16", 256, 0, &[0; 31]).contains("copy_rows_bf16"));
    assert!(launch("copy_rows_bf16", 257, 0, &[0; 32]).contains("copy_rows_bf16"));
    assert!(launch("copy_rows_bf16", 256, 4, &[0; 32]).contains("copy_rows_bf16"));
}

#[test]
fn events_measure() {
    let driver = driver(1);
    let (start, end) = (driver.create_event().unwrap(), driver.create_event().unwrap());
    let stream = driver.stream();
    driver.record(start, stream).unwrap();
    assert!(driver.elapsed_ms(start, end).is_err(), "an event that was never recorded");
    driver.record(end, stream).unwrap();
    driver.synchronize(stream).unwrap();
    assert!(driver.elapsed_ms(start, end).unwrap() >= 0.0);
}

#[test]
fn a_simulator_that_is_not_there_is_named_with_the_way_to_build_it() {
    let Err(error @ SimUnavailable::Missing { .. }) = SimDriver::open(&library().with_file_name("none.so"), 1) else {
        panic!("none.so was loaded")
    };
    let message = error.to_string();
    assert!(message.contains("none.so") && message.contains("bun scripts/kernels.ts --sim"), "{message}");
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.so");
    std::fs::write(&text, "no library").unwrap();
    let Err(error @ SimUnavailable::Unusable { .. }) = SimDriver::open(&text, 1) else { panic!("a text was loaded") };
    assert!(error.to_string().contains("build it again"), "{error}");
}

/// Here without a GPU, and on a GPU machine with one: never a panic.
#[test]
fn a_missing_gpu_is_an_error_with_a_remedy() {
    match CudaDriver::open() {
        Ok(driver) => assert!(driver.properties().compute_capability >= (8, 0)),
        Err(error @ Unavailable::NoDriver) => assert!(error.to_string().contains("install driver 580"), "{error}"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
