;; SPDX-License-Identifier: MIT
;; churn.scm - for Guile: data that stays (a table of strings, nested lists) while much is made and dropped
;;
;; Usage: guile churn.scm SIZE ROUNDS.  What it prints depends on the arguments only.
(use-modules (srfi srfi-1))

(define size (string->number (cadr (command-line))))
(define rounds (string->number (caddr (command-line))))

(define (make-tree depth)
  (if (= depth 0)
      '()
      (cons (make-tree (- depth 1)) (make-tree (- depth 1)))))

(define (count-tree tree)
  (if (null? tree)
      1
      (+ (count-tree (car tree)) (count-tree (cdr tree)))))

(define trees (map (lambda (i) (make-tree 14)) (iota (quotient size 5000))))
(define table (make-hash-table))
(do ((i 0 (+ i 1)))
    ((= i size))
  (hash-set! table i (number->string (* i i))))

(define (churn round)
  (let* ((numbers (map (lambda (i) (+ i round)) (iota (quotient size 2))))
         (squares (filter even? (map (lambda (x) (* x x)) numbers)))
         (words (map number->string (sort squares >))))
    (hash-set! table (modulo round size) (string-append (car words) "x"))
    (+ (length words) (apply + (map string-length words)))))

(define churned (fold + 0 (map churn (iota rounds))))

(format #t "~a ~a ~a~%"
        churned
        (fold + 0 (map count-tree trees))
        (hash-fold (lambda (key value sum) (+ sum key (string-length value))) 0 table))
(format (current-error-port) "gcbench: heap ~a~%" (assq-ref (gc-stats) 'heap-size))
(format (current-error-port) "gcbench: collections ~a~%" (assq-ref (gc-stats) 'gc-times))
