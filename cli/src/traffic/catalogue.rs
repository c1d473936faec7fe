//! What the shop sells, and how often each thing is looked at.

use rand::distr::Distribution as _;
use rand::distr::weighted::WeightedIndex;
use rand::rngs::StdRng;

const MATERIALS: [&str; 6] = ["River Stone", "Oak", "Linen", "Copper", "Wool", "Birch"];
const THINGS: [(&str, &str, f64); 10] = [
    ("Mug", "kitchen", 18.0),
    ("Board", "kitchen", 34.5),
    ("Kettle", "kitchen", 72.0),
    ("Blanket", "home", 89.0),
    ("Cushion", "home", 29.9),
    ("Lamp", "home", 119.0),
    ("Backpack", "outdoor", 139.0),
    ("Bottle", "outdoor", 24.0),
    ("Notebook", "desk", 12.5),
    ("Pen", "desk", 9.9),
];

/// Zipf's exponent: what is looked at most is looked at about twice as often
/// as what comes second, three times as often as the third.
const EXPONENT: f64 = 1.0;

/// Where visitors come from, with the query that tells so.
pub(super) const CAMPAIGNS: [(&str, &str); 6] = [
    ("", ""),
    ("https://www.google.com/", ""),
    ("https://duckduckgo.com/", ""),
    (
        "https://www.instagram.com/",
        "?utm_source=instagram&utm_medium=social&utm_campaign=autumn",
    ),
    (
        "https://www.youtube.com/",
        "?utm_source=youtube&utm_medium=video&utm_campaign=unboxing",
    ),
    (
        "https://mail.example.net/",
        "?utm_source=newsletter&utm_medium=email&utm_campaign=week-47",
    ),
];

/// What visitors search for.
pub(super) const SEARCHES: [&str; 6] = [
    "mug",
    "wool blanket",
    "gift under 30",
    "café",
    "backpack 20 l",
    "kettle",
];

/// Something that the shop sells.
#[derive(Debug)]
pub(super) struct Product {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) slug: String,
    pub(super) category: &'static str,
    pub(super) price: f64,
}

/// Everything that the shop sells.
#[derive(Debug)]
pub(super) struct Catalogue {
    products: Vec<Product>,
    popularity: Option<WeightedIndex<f64>>,
}

impl Catalogue {
    pub(super) fn new() -> Self {
        let mut products = Vec::new();
        for (thing, category, price) in THINGS {
            for material in MATERIALS {
                let name = format!("{material} {thing}");
                products.push(Product {
                    id: format!("P{:03}", products.len() + 1),
                    slug: name.to_lowercase().replace(' ', "-"),
                    name,
                    category,
                    price,
                });
            }
        }
        let ranks = 1..=products.len() as u32;
        let popularity = WeightedIndex::new(ranks.map(|k| 1.0 / f64::from(k).powf(EXPONENT))).ok();
        Self {
            products,
            popularity,
        }
    }

    /// A product, the first ones most often. Ranks jump through the list, so
    /// that every category has something popular.
    pub(super) fn pick(&self, rng: &mut StdRng) -> &Product {
        let rank = self.popularity.as_ref().map_or(0, |p| p.sample(rng));
        &self.products[rank * 7 % self.products.len()]
    }
}
