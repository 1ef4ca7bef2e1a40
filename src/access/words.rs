//! Words of join codes: short, easy to spell, and easy to tell apart by ear.

/// The first words.
#[rustfmt::skip]
pub(super) const ADJECTIVES: [&str; 100] = [
    "able", "amber", "aqua", "bold", "brave", "brief", "bright", "broad", "brown", "busy", "calm", "clean", "clear",
    "clever", "close", "cool", "cosy", "crisp", "deep", "dry", "dusty", "eager", "early", "easy", "even", "fair",
    "fancy", "fast", "fine", "firm", "flat", "free", "fresh", "full", "gentle", "glad", "golden", "good", "grand",
    "great", "green", "happy", "hidden", "high", "huge", "humble", "icy", "jolly", "keen", "kind", "large", "late",
    "light", "lively", "long", "loud", "lucky", "mellow", "mild", "misty", "modern", "neat", "new", "nice", "noble",
    "open", "orange", "pale", "plain", "proud", "pure", "quick", "quiet", "rapid", "rare", "red", "rich", "ripe",
    "round", "royal", "sandy", "sharp", "shiny", "short", "silent", "silver", "simple", "sleepy", "slow", "small",
    "smart", "smooth", "snowy", "soft", "solid", "steady", "sunny", "sweet", "swift", "tall",
];

/// The second words.
#[rustfmt::skip]
pub(super) const NOUNS: [&str; 100] = [
    "acorn", "anchor", "apple", "arrow", "autumn", "badger", "balloon", "banana", "basket", "beach", "bear", "beaver",
    "bell", "bird", "boat", "bottle", "branch", "breeze", "bridge", "butter", "button", "cabin", "camel", "candle",
    "canoe", "carrot", "castle", "cat", "cherry", "circle", "clock", "cloud", "clover", "coast", "comet", "coral",
    "cotton", "crane", "cricket", "crystal", "daisy", "deer", "desert", "dolphin", "donkey", "dragon", "drum",
    "eagle", "engine", "falcon", "feather", "field", "flame", "flower", "forest", "fox", "garden", "giraffe",
    "glacier", "guitar", "hammer", "harbor", "hedge", "hill", "honey", "horse", "island", "jacket", "jungle",
    "kettle", "kite", "ladder", "lake", "lamp", "lantern", "lemon", "lion", "lizard", "maple", "meadow", "melon",
    "mirror", "moon", "needle", "ocean", "olive", "orchid", "otter", "owl", "panda", "paper", "parrot", "peach",
    "pearl", "pencil", "pepper", "piano", "pine", "planet", "pony",
];
