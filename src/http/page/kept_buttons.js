// Buttons about users that stay the same elements until their words change: a button that is replaced under a finger is
// not clicked, and one that is replaced under the focus loses it.

export class KeptButtons {
  #kept = new Map();

  /** The buttons about a user. `make()` makes others when `key` is another one. */
  of(userId, key, make) {
    const kept = this.#kept.get(userId);
    if (kept?.key === key) return kept.buttons;
    const buttons = make();
    this.#kept.set(userId, { key, buttons });
    return buttons;
  }

  /** Forgets the buttons about all other users. */
  keep(userIds) {
    const there = new Set(userIds);
    for (const userId of this.#kept.keys()) if (!there.has(userId)) this.#kept.delete(userId);
  }
}
