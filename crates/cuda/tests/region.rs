//! A region on the simulator: phases use the same bytes in turn, and what has given its memory back reaches no kernel.
#![allow(clippy::unwrap_used)]

mod device;

use device::backend;
use gradus_ops::{Backed, Backend, Precision};
use gradus_tensor::DType;
use gradus_testing::on_backend::read;
use gradus_testing::uniform;

#[test]
fn phases_take_the_same_bytes_in_turn() {
    let backend = backend(1);
    let region = backend.region();
    let mut gradient = backend.unbacked_weight(40, 33, Precision::F32).unwrap();
    let mut pages: Vec<_> = (0..3).map(|_| backend.unbacked(DType::U32, 1500).unwrap()).collect();
    for round in 0..4 {
        gradient.take_from(&region).unwrap();
        // It holds what the pages left there.
        backend.zero_weight(&mut gradient).unwrap();
        assert_eq!(backend.sum_of_squares([&gradient].into_iter()).unwrap(), 0.0);
        backend.load_row_major(&mut gradient, 0, &uniform(round, 40 * 33)).unwrap();
        let mut found = vec![0.0; 40 * 33];
        backend.store_row_major(&gradient, 0, &mut found).unwrap();
        assert_eq!(found, uniform(round, 40 * 33));
        gradient.give_back();
        for (number, page) in pages.iter_mut().enumerate() {
            page.take_from(&region).unwrap();
            backend.write(page, 0, &vec![number as u32 + 1; 1500]).unwrap();
        }
        for (number, page) in pages.iter().enumerate() {
            assert_eq!(read::<_, u32>(&backend, page), vec![number as u32 + 1; 1500], "round {round}");
        }
        pages.iter_mut().for_each(Backed::give_back);
    }
    assert_eq!(backend.region_bytes(&region), 3 * 8192);
}

#[test]
fn what_has_given_its_memory_back_is_refused() {
    let backend = backend(1);
    let region = backend.region();
    let mut x = backend.unbacked(DType::F32, 10).unwrap();
    let mut weight = backend.unbacked_weight(4, 4, Precision::F32).unwrap();
    for taken in [false, true] {
        if taken {
            x.take_from(&region).unwrap();
            weight.take_from(&region).unwrap();
        }
        let results = [
            backend.write(&mut x, 0, &[0.0_f32; 10]),
            backend.zero(&mut x, 0, 10),
            backend.sum_of_squares([&weight].into_iter()).map(drop),
        ];
        for result in results {
            match result {
                Ok(()) => assert!(taken),
                Err(error) => assert!(!taken && error.to_string().contains("has given its memory back"), "{error}"),
            }
        }
    }
}
