/**
 * What packed texts are compressed against (packed-text.ts): a short text has little of its own to refer to. What is most
 * frequent stands at the end, where it is named in the fewest bits.
 *
 * Rows are read with it for as long as there are any: it never changes. A better one gets a number of its own.
 */
export const DICTIONARY = Buffer.from(
  [
    " que de la el en los las para con una por del se no es un su como más pero está muy este esta",
    " que les des une est dans pour pas sur avec vous nous sont mais cette plus être par qui il elle au ce",
    " dass sich auch nach wird bei oder wenn kann aus noch wie sind über für nicht mit den dem von auf ist ein eine und der die das",
    ' class=" <div <span </div> <p> </p> <a href=" <li> <br> &nbsp; &amp; SELECT * FROM WHERE select from where ',
    "self. def print( import from export default function async await return const interface string number boolean null true false undefined Error: ",
    "January February March April May June July August September October November December ",
    "Monday Tuesday Wednesday Thursday Friday Saturday Sunday 2024 2025 2026 2027 .com .org .html .json https://www. http:// https://github.com/ ",
    '"invalid_tool_calls":[],"usage_metadata":{"input_tokens":,"output_tokens":,"total_tokens":"finish_reason":"stop","model_name":"',
    '"properties":{"required":["description":"type":"object"},"title":"status":"error":"result":"message":"query":"url":"name":"id":"value":"items":[{"',
    '\\",\\"id\\":\\"\\",\\"name\\":\\"\\",\\"type\\":\\"\\",\\"text\\":\\"\\",\\"title\\":\\"\\",\\"description\\":\\"\\",\\"url\\":\\"https://',
    '","__pregel_tasks":{"__interrupt__":{"__input__":{},"__start__":{"__start__":"tools":{"agent":{"model_request":{"branch:to:',
    '{"v":4,"ts":"2026-T:.Z","versions_seen":{"__input__":{},"__start__":{"__start__":{"branch:to:messages":',
    "\\n\\n```json\\n\\n```python\\n\\n```\\n\\n| --- | --- |\\n| **Note:** \\n\\n# \\n\\n## \\n\\n### \\n\\n1. **\\n2. **\\n3. **\\n   - **\\n\\n- **:** \\n- ",
    " information development international university government community department management technology important different following available including according experience environment production",
    " understand question problem system service business company customer product project process program support provide include require consider continue increase response request",
    " between through without within during before after another because should would could might about their there these those which where while whether what when who how why",
    " have been were will they them then than your our his her its more most some such only other into over also very just like time year people make made many much first last next number data example case point part place work",
    " well good great best better new long high small large same right left look find found give take come back think know need want used using use user users help please thank here",
    " are the following is a list of can be used to it is important to note that For example, In addition, However, Therefore, as well as such as the number of in order to based on due to according to one of the at the same time on the other hand",
    " for the first time it would be there is a there are several you can also use the I'm sorry, but I don't have Let me know if you have any questions. I hope this helps! Here's how you can",
    " does not do not is not are not was not did not cannot ation ing ed ly ment ness able ible ence ance ity ous ive al er est ize",
    " has been have been can be will be would be should be may be not be with a has a is a for a in a of a it is to be as the is the at the from the by the with the that the for the on the and the in the to the of the",
    ". The , and , but , which , the , or . It is . This is . In the . A . If you . We . You . They . He . She ",
  ].join(""),
);
