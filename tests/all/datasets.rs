//! The data that the repository ships is what it says it is.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use md5::{Digest, Md5};
use wengert_idx::{Options, read_pair, summarise};

fn mnist() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../datasets/mnist")
}

/// md5 of the canonical files, unpacked.
const MD5: [(&str, &str); 4] = [
    ("train-images-idx3-ubyte.gz", "6bbc9ace898e44ae57da46a324031adb"),
    ("train-labels-idx1-ubyte.gz", "a25bea736e30d166cdddb491f175f624"),
    ("t10k-images-idx3-ubyte.gz", "2646ac647ad5339dbf082846283269ea"),
    ("t10k-labels-idx1-ubyte.gz", "27ae3e4e09519cfbb04c329615203637"),
];

#[test]
fn checksums_are_the_canonical_ones_and_those_of_the_readme() {
    let readme = std::fs::read_to_string(mnist().join("README.md")).unwrap();
    let mut verified = 0;
    for line in readme.lines().filter(|l| l.starts_with("| `")) {
        let words: Vec<&str> = line.split('`').collect();
        let (name, expected) = (words[1], words[3]);
        let mut unpacked = Vec::new();
        let file = BufReader::new(File::open(mnist().join(name)).unwrap());
        GzDecoder::new(file).read_to_end(&mut unpacked).unwrap();
        let found: String = Md5::digest(&unpacked).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(found, expected, "{name}");
        assert!(MD5.contains(&(name, expected)), "{name} is not the canonical file");
        verified += 1;
    }
    assert_eq!(verified, 4);
}

#[test]
fn images_and_labels_fit() {
    for (part, count) in [("train", 60_000), ("t10k", 10_000)] {
        let (images, labels) = wengert_nn::file_names(part);
        let (images, labels) = (mnist().join(images + ".gz"), mnist().join(labels + ".gz"));
        let pair = read_pair(&images, &labels, 10, &Options::default()).unwrap();
        assert_eq!(pair.images.shape(), &[count, 28, 28]);
        assert!(read_pair(&images, &labels, 9, &Options::default()).is_err());
    }
    let summary = summarise(mnist().join("t10k-labels-idx1-ubyte.gz"), &Options::default()).unwrap();
    assert_eq!((summary.min, summary.max, summary.header.elements()), (Some(0.0), Some(9.0), 10_000));
}
