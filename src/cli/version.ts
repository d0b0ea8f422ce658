/**
 * @since 0.1.0
 */
import manifest from "../../package.json" with { type: "json" }

/**
 * The version of this package.
 *
 * @category constants
 * @since 0.1.0
 */
export const version: string = manifest.version
