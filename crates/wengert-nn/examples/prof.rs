use wengert_nn::*;
fn main() {
    let data = Dataset::load(std::path::Path::new("datasets/mnist"), 10, 2, &Default::default()).unwrap();
    let mut net = TwoLayerNet::<f32>::new(784, 50, 10, 0).unwrap();
    let model = net.model_mut();
    let program = model.training_step(data.train.len(), 100, Sgd { learning_rate: 0.1 }).unwrap();
    let mut ws = program.workspace().unwrap();
    let mut sampler = BatchSampler::new(60000, 100, Sampling::WithReplacement, 0);
    let mut last = None;
    for _ in 0..200 {
        let b = sampler.next_batch().to_vec();
        let b = ndarray::Array1::from(b);
        last = Some(program.profile(&mut ws, &mut model.states, (&data.train.images, &data.train.labels, &b)).unwrap());
    }
    println!("{}", last.unwrap());
}
