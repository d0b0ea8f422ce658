/**
 * Buckets and what is written for them. Most of what a step reads is what the last step of this process has written or read,
 * and most of what it writes it has not changed: so both are remembered.
 *
 * @since 0.1.0
 */
import * as Series from "../ledger/Rolling.ts"

interface Known {
  readonly text: string
  readonly buckets: Series.Buckets
}

/** So many series are remembered: those that were used last. */
const most = 512

/**
 * What this process remembers. It never says anything else than {@link Series.encode} and {@link Series.decode} would.
 *
 * @category models
 * @since 0.1.0
 */
export class BucketTexts {
  private readonly known = new Map<string, Known>()

  /** What a series is written as. */
  encode(name: string, buckets: Series.Buckets): string {
    const known = this.known.get(name)
    if (known?.buckets === buckets) return known.text
    const text = Series.encode(buckets)
    this.keep(name, { text, buckets })
    return text
  }

  /** What is written of a series; undefined for what cannot be read. */
  decode(name: string, text: string): Series.Buckets | undefined {
    const known = this.known.get(name)
    if (known?.text === text) return known.buckets
    const buckets = Series.decode(text)
    if (buckets !== undefined) this.keep(name, { text, buckets })
    return buckets
  }

  private keep(name: string, known: Known): void {
    this.known.delete(name)
    this.known.set(name, known)
    for (const oldest of this.known.keys()) {
      if (this.known.size <= most) return
      this.known.delete(oldest)
    }
  }
}
